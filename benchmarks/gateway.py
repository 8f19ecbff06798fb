"""The search service: `POST /v1/search` beside the sum of its parts, and releases under load.

    python benchmarks/gateway.py --release build/demo/serving
    python benchmarks/gateway.py --release build/demo/serving --items 10000,1000000
    python benchmarks/gateway.py --release build/demo/serving --releases 60

The parts are what a request is made of, called in this process: reading an upload, towers on a
model server, index, filter, reranker. The service is a process of its own on the same cores, asked
in turns with the parts by one client (p50, p99), and by 16 (requests a second); it keeps no answers
here. `--items N,N` builds indexes of so many items with random vectors; `--releases SECONDS` pushes
a release every five seconds meanwhile.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from _shared import Results, argument_parser

CLIENTS = 16
MOST_OVERHEAD = 3.0  # milliseconds, p50
SERVICE = """
import sys
from serving.gateway.server import run_search_service
from serving.gateway.settings import GatewaySettings
run_search_service(sys.argv[1], GatewaySettings(cached_answers=0), host="127.0.0.1", port=0,
                   on_ready=lambda server, gateway: print(server.address, flush=True))
"""


@contextlib.contextmanager
def service(root: Path) -> Iterator[str]:
    """A search service in a process of its own; yields its address."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVICE, str(root)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


class Asker:
    """One connection to the service."""

    def __init__(self, address: str):
        host, _, port = address.rpartition(":")
        self._connection = http.client.HTTPConnection(host, int(port), timeout=60)

    def ask(self, body: bytes) -> dict[str, Any]:
        """Return the answer to a search; the program ends if it is refused."""
        headers = {"Content-Type": "application/json"}
        self._connection.request("POST", "/v1/search", body, headers)
        answer = self._connection.getresponse()
        content = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{answer.status}: {content[:500]!r}")
        return json.loads(content)


def milliseconds(calls: Sequence[Callable[[int], Any]], rounds: int) -> list[list[float]]:
    """Milliseconds of each call in turns, sorted, after a few that do not count."""
    taken: list[list[float]] = [[] for _ in calls]
    for number in range(rounds + 3):
        for own, call in zip(taken, calls):
            started = time.perf_counter()
            call(number)
            own.append(1000 * (time.perf_counter() - started))
    return [sorted(own[3:]) for own in taken]


def requests_per_second(address: str, bodies: list[bytes], seconds: float) -> float:
    """Answers to 16 clients in so many seconds, by the second."""
    end = time.monotonic() + seconds
    answered = [0] * CLIENTS

    def client(number: int) -> None:
        asker = Asker(address)
        while time.monotonic() < end:
            asker.ask(bodies[(number + answered[number] * CLIENTS) % len(bodies)])
            answered[number] += 1

    started = time.monotonic()
    threads = [threading.Thread(target=client, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(answered) / (time.monotonic() - started)


def searches(index: Any, has_reranker: bool) -> dict[str, list[dict[str, Any]]]:
    """Bodies of requests by kind."""
    import base64

    texts = [f"a dog and {number} cakes 生日" for number in range(200)]
    named = {"rerank": 0} if has_reranker else {}
    kinds = {"text": [{"query": text, **named} for text in texts]}
    choices = index.items.choices()
    if choices:
        column, values = next(iter(choices.items()))
        value = next(iter(values))
        kinds["filtered"] = [{"query": text, "filter": {column: value}, **named} for text in texts]
    uris = [uri for uri in index.items.uris[:50] if Path(uri).is_file()]
    if uris:
        images = [base64.b64encode(Path(uri).read_bytes()).decode() for uri in uris]
        kinds["image"] = [{"image": image} for image in images]
    if has_reranker:
        kinds["rerank 32"] = [{"query": text, "rerank": 32} for text in texts]
    return kinds


def measure(results: Results, root: Path, name: str, rounds: int, seconds: float) -> None:
    """Add a row for each kind of search."""
    from serving.gateway.answers import SearchBody
    from serving.gateway.server import open_gateway
    from serving.gateway.settings import GatewaySettings
    from serving.rerank_settings import RERANKER

    with (
        open_gateway(root, GatewaySettings(cached_answers=0)) as gateway,
        service(root) as address,
    ):
        asker = Asker(address)
        kinds = searches(gateway.index, RERANKER in gateway.service.release.models)
        for kind, bodies in kinds.items():
            asked = [SearchBody(**body) for body in bodies]
            encoded = [json.dumps(body).encode() for body in bodies]

            def parts(number: int, asked: list[Any] = asked) -> None:
                gateway.service.answer(asked[number % len(asked)].to_request(gateway))

            def whole(number: int, encoded: list[bytes] = encoded) -> None:
                asker.ask(encoded[number % len(encoded)])

            inside, over = milliseconds([parts, whole], rounds)
            rate = requests_per_second(address, encoded, seconds)
            p50, p99 = statistics.median(over), over[int(0.99 * len(over))]
            own = statistics.median(inside)
            results.add(
                f"{name}{kind}",
                f"{p50:.1f} / {p99:.1f} ms, {rate:.0f}/s; parts {own:.1f} ms",
                f"overhead {MOST_OVERHEAD:g} ms",
                p50 - own <= MOST_OVERHEAD,
                p50=p50,
                p99=p99,
                per_second=rate,
                parts=own,
            )


def with_items(root: Path, count: int, out: Path) -> Path:
    """A release root with the same towers and an index of so many items with random vectors."""
    import numpy as np
    import pyarrow as pa

    from serving.index import SearchIndex, build_index
    from serving.publish import publish_release
    from serving.release import INDEX, Release

    release = Release.load(root)
    dimension = SearchIndex.load(root / INDEX / str(release.index)).dimension
    draw = np.random.default_rng(1)
    vectors = draw.normal(size=(count, dimension)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    items = pa.table(
        {
            "group": pa.array([f"group {n % 20}" for n in range(count)]),
            "price": pa.array(draw.uniform(1, 100, count)),
        }
    )
    ids = [f"item-{number}" for number in range(count)]
    build_index(vectors, ids, ids, out / "index", items=items)
    towers = {
        name: root / name / str(version)
        for name, version in release.models.items()
        if name.endswith("_tower")
    }
    publish_release(out / "root", 1, towers, out / "index")
    return out / "root"


def under_releases(results: Results, root: Path, seconds: float, place: Path) -> None:
    """Ask with 16 clients while releases are pushed; no answer may fail or be mixed."""
    from serving.publish import publish_release
    from serving.release import INDEX, Release

    release = Release.load(root)
    models = {name: root / name / str(version) for name, version in release.models.items()}
    index = place / "index"
    shutil.copytree(root / INDEX / str(release.index), index)
    described = json.loads((index / "index.json").read_text())
    (index / "index.json").write_text(json.dumps(described | {"tower_version": None}))
    (index / "MODEL_CARD.md").unlink(missing_ok=True)
    served = place / "served"
    publish_release(served, 1, models, index)
    stop = threading.Event()
    taken: list[float] = []
    seen: set[int] = set()
    problems: list[str] = []

    def client(number: int) -> None:
        asker = Asker(address)
        asked = 0
        while not stop.is_set():
            asked += 1
            body = json.dumps({"query": f"dog {number} {asked}", "k": 5}).encode()
            started = time.perf_counter()
            try:
                answer = asker.ask(body)
            except (RuntimeError, OSError, http.client.HTTPException) as error:
                problems.append(str(error))
                return
            taken.append(1000 * (time.perf_counter() - started))
            seen.add(answer["release"])
            if any(not h["image"].endswith(f"={answer['release']}") for h in answer["hits"]):
                problems.append("mixed")

    with service(served) as address:
        threads = [threading.Thread(target=client, args=(number,)) for number in range(CLIENTS)]
        for thread in threads:
            thread.start()
        end, version = time.monotonic() + seconds, 1
        while not stop.wait(5) and time.monotonic() < end:
            version += 1
            publish_release(served, version, models, index)
        stop.wait(3)
        stop.set()
        for thread in threads:
            thread.join()
    taken.sort()
    results.add(
        f"{version - 1} releases in {seconds:g} s, {CLIENTS} clients",
        f"{len(taken):,} answers of {len(seen)} releases, p50 {statistics.median(taken):.0f} ms, "
        f"p99 {taken[int(0.99 * len(taken))]:.0f} ms, {len(problems)} failed or mixed",
        "none failed, none mixed",
        not problems and version in seen,  # some are outdated before they are loaded
        problems=problems[:5],
        p99=taken[int(0.99 * len(taken))],
    )


def main() -> None:
    """Measure."""
    parser = argument_parser(__doc__ or "")
    parser.add_argument("--release", type=Path, default=Path("build/demo/serving"), metavar="ROOT")
    parser.add_argument("--items", default="", metavar="N,N", help="indexes of so many items")
    parser.add_argument("--releases", type=float, default=0, metavar="SECONDS")
    parser.add_argument("--rounds", type=int, default=300, help="requests of one client")
    parser.add_argument("--seconds", type=float, default=5, help="of 16 clients, for each kind")
    arguments = parser.parse_args()
    results = Results()
    with tempfile.TemporaryDirectory() as place:
        if arguments.releases:
            under_releases(results, arguments.release, arguments.releases, Path(place))
        elif arguments.items:
            for number in map(int, arguments.items.split(",")):
                out = Path(place, str(number))
                out.mkdir()
                root = with_items(arguments.release, number, out)
                name = f"{number:,} items, "
                measure(results, root, name, arguments.rounds, arguments.seconds)
                shutil.rmtree(out)
        else:
            measure(results, arguments.release, "", arguments.rounds, arguments.seconds)
    results.finish(arguments)


if __name__ == "__main__":
    main()
