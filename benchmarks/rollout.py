"""Pushing version after version under load: is every request answered, by the version it names?

A model server runs in a process of its own. Clients encode queries without a pause while every few
seconds a new version of the text tower is moved into the base path. Each answer is compared with
the closed form for the version that it names.

python benchmarks/rollout.py [--clients 32] [--pushes 12] [--pause 5] [--megabytes 50] [--json FILE]
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import numpy as np
from _model_server import AVAILABLE, END, VOCABULARY, Client, Server, save_tower, serve
from _shared import Results, argument_parser

from serving.warmup import write_warmup

QUERIES = [f"{7 * i % VOCABULARY} {11 * i % VOCABULARY} {13 * i}" for i in range(1, 33)]
NAME = "text_tower"


@dataclass
class Record:
    """What one client saw."""

    versions: Counter = field(default_factory=Counter)
    milliseconds: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


def run_client(
    address: str, references: dict[str, np.ndarray], record: Record, stop: threading.Event
) -> None:
    """Sends one query after the other until told to stop."""
    client = Client(address, NAME)
    newest, turn = 0, 0
    while not stop.is_set():
        turn += 1
        query = QUERIES[turn % len(QUERIES)]
        started = time.perf_counter()
        try:
            version, embedding = client.encode(query)
        except grpc.RpcError as error:
            record.failures.append(f"{error.code().name}: {error.details()}")
            continue
        record.milliseconds.append(1e3 * (time.perf_counter() - started))
        record.versions[version] += 1
        if not np.array_equal(embedding, references[query] * np.float32(version)):
            record.wrong.append(f"version {version}, {query}")
        if version < newest:
            record.wrong.append(f"version {version} after version {newest}")
        newest = version
    client.close()


def push_versions(server: Server, staged: Path, base: Path, pushes: int, pause: float) -> None:
    """Moves the versions 2, 3, ... into the base path; returns when the last one serves alone."""
    for version in range(2, pushes + 2):
        time.sleep(pause)
        (staged / str(version)).rename(base / str(version))
        # A server that is slow to load it would pass over it, if the next were there by then.
        server.wait_for_states(NAME, lambda states, new=version: states.get(new) == AVAILABLE)
    expected = dict.fromkeys(range(1, pushes + 1), END) | {pushes + 1: AVAILABLE}
    server.wait_for_states(NAME, lambda states: states == expected)
    # The last version answers for a while, too.
    time.sleep(min(pause, 1.0))


def measure(
    clients: int, pushes: int, pause: float, megabytes: float, flags: list[str]
) -> list[Record]:
    """The records of all clients of one roll-out."""
    with tempfile.TemporaryDirectory() as folder:
        base, staged = Path(folder, "base"), Path(folder, "staged")
        for version in range(1, pushes + 2):
            save_tower(staged / str(version), version, megabytes)
            # Without warm-up, the first requests to a version wait for TensorFlow to prepare it.
            write_warmup(staged / str(version), [("serving_default", {"query": QUERIES[:1]})], NAME)
        base.mkdir()
        (staged / "1").rename(base / "1")
        records, stop = [Record() for _ in range(clients)], threading.Event()
        arguments = [f"--model_name={NAME}", f"--model_base_path={base}", *flags]
        with serve(*arguments) as server:
            first = Client(server.address, NAME)
            references = {query: first.encode(query)[1] for query in QUERIES}
            first.close()
            threads = [
                threading.Thread(target=run_client, args=(server.address, references, record, stop))
                for record in records
            ]
            for thread in threads:
                thread.start()
            try:
                push_versions(server, staged, base, pushes, pause)
            finally:
                stop.set()
                for thread in threads:
                    thread.join()
            server.terminate()
        return records


def report(results: Results, records: list[Record], pushes: int, least: int) -> None:
    """Adds the rows."""
    versions = sum((record.versions for record in records), Counter())
    milliseconds = np.concatenate([record.milliseconds for record in records])
    failures = [text for record in records for text in record.failures]
    wrong = [text for record in records for text in record.wrong]
    requests = len(milliseconds) + len(failures)
    results.add("requests", f"{requests}", f">= {least}", requests >= least, requests=requests)
    shown = f"{len(failures)}" + (f", such as {failures[0]}" if failures else "")
    results.add("failed requests", shown, "0", not failures, failures=len(failures))
    shown = f"{len(wrong)}" + (f", such as {wrong[0]}" if wrong else "")
    results.add("answers not of the version they name", shown, "0", not wrong, wrong=len(wrong))
    served = len(versions)
    results.add(
        "versions that answered", f"{served}", f"{pushes + 1}", served == pushes + 1, served=served
    )
    idle = sum(not record.versions for record in records)
    results.add("clients without an answer", f"{idle}", "0", not idle, idle=idle)
    p50, p99 = np.percentile(milliseconds, [50, 99])
    results.add("latency, median", f"{p50:.1f} ms", p50=p50)
    results.add("latency, 99th percentile", f"{p99:.1f} ms", p99=p99)
    worst = milliseconds.max()
    results.add("latency, worst", f"{worst:.1f} ms", worst=worst)


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--pushes", type=int, default=12, help="versions after the first")
    parser.add_argument(
        "--pause", type=float, default=5.0, help="seconds that a version serves alone"
    )
    parser.add_argument("--megabytes", type=float, default=50.0, help="variables of a version")
    parser.add_argument("--least", type=int, default=10_000, help="fewest requests for a verdict")
    parser.add_argument(
        "--flag", action="append", default=[], metavar="--F=V", help="further flag of the server"
    )
    arguments = parser.parse_args()
    records = measure(
        arguments.clients, arguments.pushes, arguments.pause, arguments.megabytes, arguments.flag
    )
    results = Results()
    report(results, records, arguments.pushes, arguments.least)
    results.finish(arguments)


if __name__ == "__main__":
    main()
