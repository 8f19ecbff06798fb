"""Memory of the model server under good and bad requests for half an hour: it must level off.

    python benchmarks/soak.py [--minutes 30] [--picture docs/images/soak.svg] [--json FILE]

A `vlsearch-model-server` in a process of its own serves a small model. Clients of both APIs send
what callers send and what they should not: unknown models, versions, labels and signatures, all
subsets of outputs, bytes that are no request, gzip bombs, half requests, calls that are given up,
lists of models that cannot be loaded or that load and unload. Its resident memory is read once a
second. Bar: after the first five minutes no half minute's median is more than 2 % above the one at
minute five.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import statistics
import string
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from concurrent import futures
from pathlib import Path

import grpc
import numpy as np
from _model_server import Server, free_port, serve
from _shared import Results, argument_parser
from google.protobuf import text_format
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from serving.tensors import encode
from tests.serving.sockets import connect, exchange, post

OUTPUTS = 8
SETTLED_MINUTES = 5.0
WINDOW_SECONDS = 30
SECONDS_BETWEEN_BOMBS = 10.0
BAR = 1.02
PREDICT = "/v1/models/m:predict"
METRICS = "/monitoring/prometheus/metrics"
EXPORT = f"""
import sys
import tensorflow as tf

class Model(tf.Module):
    def __init__(self):
        self.half = tf.Variable(0.5)

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.float32, "x")])
    def call(self, x):
        y = tf.matmul(x * self.half, x, transpose_b=True)
        return {{f"y{{i}}": y + float(i) for i in range({OUTPUTS})}}

model = Model()
for folder in sys.argv[1:]:
    tf.saved_model.save(model, folder, {{"serving_default": model.call}})
"""


def _word() -> str:
    return "".join(random.choices(string.ascii_letters, k=random.randint(1, 40)))


def _array() -> np.ndarray:
    return np.random.rand(random.randint(1, 64), random.randint(1, 64)).astype(np.float32)


class Clients:
    """All kinds of requests, each a method without arguments."""

    def __init__(self, server: Server, rest_port: int, base: Path, second: Path):
        self._port, self._rest_port = server.port, rest_port
        self._base, self._second = base, second
        self._lock = threading.Lock()
        self._next_bomb = 0.0
        self._channel = grpc.insecure_channel(server.address)
        self._predict = prediction_service_pb2_grpc.PredictionServiceStub(self._channel).Predict
        self._metadata = prediction_service_pb2_grpc.PredictionServiceStub(
            self._channel
        ).GetModelMetadata
        models = model_service_pb2_grpc.ModelServiceStub(self._channel)
        self._status, self._reload = models.GetModelStatus, models.HandleReloadConfigRequest
        # Heavy ones are rare.
        self.kinds: dict[Callable[[], object], int] = {
            self.good_grpc: 40,
            self.good_rest: 30,
            self.subset_of_outputs: 10,
            self.unknown_model: 15,
            self.unknown_signature: 5,
            self.unknown_version: 5,
            self.wrong_input: 5,
            self.given_up: 3,
            self.no_message: 5,
            self.no_method: 5,
            self.metadata_and_status: 5,
            self.rest_paths: 15,
            self.rest_no_json: 10,
            self.rest_no_http: 5,
            self.rest_half: 5,
            self.rest_connection_only: 5,
            self.bomb: 1,
            self.reload_of_missing: 2,
            self.reload: 1,
            self.grpc_connection: 3,
        }

    def _request(self) -> predict_pb2.PredictRequest:
        request = predict_pb2.PredictRequest()
        request.model_spec.name = "m"
        encode(_array(), request.inputs["x"], typed_fields=False)
        return request

    def good_grpc(self) -> None:
        self._predict(self._request(), timeout=random.choice([None, 30, 60]))

    def good_rest(self) -> None:
        body = json.dumps({"inputs": _array().tolist()}).encode()
        if random.random() < 0.3:
            self._rest(post(PREDICT, gzip.compress(body, 1), "Content-Encoding: gzip"))
        else:
            self._rest(post(PREDICT, body))

    def subset_of_outputs(self) -> None:
        request = self._request()
        names = [f"y{i}" for i in range(OUTPUTS)]
        request.output_filter.extend(random.sample(names, random.randint(1, OUTPUTS)))
        self._predict(request, timeout=random.choice([None, 30]))

    def unknown_model(self) -> None:
        if random.random() < 0.5:
            self._rest(post(f"/v1/models/{_word()}:predict", b'{"inputs": 1}'))
            return
        request = self._request()
        request.model_spec.name = _word()
        self._predict(request, timeout=30)

    def unknown_signature(self) -> None:
        request = self._request()
        request.model_spec.signature_name = _word()
        self._predict(request, timeout=30)

    def unknown_version(self) -> None:
        request = self._request()
        if random.random() < 0.5:
            request.model_spec.version.value = random.randint(-9, 1 << 40)
        else:
            request.model_spec.version_label = _word()
        self._predict(request, timeout=30)

    def wrong_input(self) -> None:
        request = self._request()
        wrong = np.array([_word()], object)
        encode(wrong, request.inputs[random.choice(["x", _word()])], typed_fields=True)
        self._predict(request, timeout=30)

    def given_up(self) -> None:
        self._predict(self._request(), timeout=random.random() / 200)

    def no_message(self) -> None:
        self._send(random.choice(["Predict", "Classify", "MultiInference", "GetModelMetadata"]))

    def no_method(self) -> None:
        self._send(_word())

    def _send(self, method: str) -> None:
        call = self._channel.unary_unary(f"/tensorflow.serving.PredictionService/{method}")
        call(random.randbytes(random.randint(0, 2000)), timeout=30)

    def metadata_and_status(self) -> None:
        metadata = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        status = get_model_status_pb2.GetModelStatusRequest()
        for request in (metadata, status):
            request.model_spec.name = random.choice(["m", _word()])
        self._status(status, timeout=30)
        self._metadata(metadata, timeout=30)

    def rest_paths(self) -> None:
        path = random.choice(
            ["/v1/models/m", "/v1/models/m/metadata", f"/v1/models/{_word()}", f"/{_word()}",
             f"/v1/models/m/versions/{random.randint(0, 99)}", f"/v1/models/m/labels/{_word()}"]
        )  # fmt: skip
        self._rest(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())

    def rest_no_json(self) -> None:
        self._rest(post(PREDICT, random.choice([b"{", b"[" * 5000, random.randbytes(3000), b""])))

    def rest_no_http(self) -> None:
        self._rest(random.randbytes(200) + b"\r\n\r\n")

    def rest_half(self) -> None:
        data = post(PREDICT, b'{"inputs": [1.0]}' * 1000)
        with connect(self._rest_port) as connection:
            connection.sendall(data[: random.randrange(len(data))])

    def rest_connection_only(self) -> None:
        connect(self._rest_port).close()

    def grpc_connection(self) -> None:
        with connect(self._port) as connection:
            connection.sendall(random.choice([b"", b"GET / HTTP/1.1\r\n\r\n", b"PRI * HTTP/2.0"]))
        with grpc.insecure_channel(
            f"127.0.0.1:{self._port}", [("grpc.use_local_subchannel_pool", 1)]
        ) as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            stub.Predict(self._request(), timeout=30)

    def bomb(self) -> None:
        with self._lock:
            # Each takes a quarter of a gigabyte for a moment: the curve would show nothing else.
            if time.monotonic() < self._next_bomb:
                return
            self._next_bomb = time.monotonic() + SECONDS_BETWEEN_BOMBS
        # Below and above what the server inflates.
        data = gzip.compress(bytes(random.choice([30, 300]) << 20), 1)
        self._rest(post(PREDICT, data, "Content-Encoding: gzip"))

    def reload_of_missing(self) -> None:
        self._reload_list({_word(): f"/nowhere/{_word()}"}, timeout=0.2)

    def reload(self) -> None:
        self._reload_list({"second": str(self._second)}, timeout=60)
        self._reload_list({}, timeout=60)

    def _reload_list(self, models: dict[str, str], timeout: float) -> None:
        configs = "".join(
            f'config {{ name: "{name}" base_path: "{path}" model_platform: "tensorflow" }}'
            for name, path in {"m": str(self._base), **models}.items()
        )
        request = model_management_pb2.ReloadConfigRequest()
        text_format.Parse(f"config {{ model_config_list {{ {configs} }} }}", request)
        self._reload(request, timeout=timeout)

    def _rest(self, data: bytes) -> None:
        status, _, _ = exchange(self._rest_port, data, "POST")
        if status >= 500 and status != 504:
            raise RuntimeError(f"HTTP status {status}")


def _work(clients: Clients, counts: Counter, ended: threading.Event) -> None:
    kinds, weights = list(clients.kinds), list(clients.kinds.values())
    while not ended.is_set():
        kind = random.choices(kinds, weights)[0]
        outcome = "answered"
        try:
            kind()
        except grpc.RpcError as error:
            outcome = error.code().name
        except OSError as error:
            outcome = type(error).__name__
        counts[kind.__name__, outcome] += 1


def _resident(pid: int) -> float:
    """MB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def soak(minutes: float, threads: int) -> tuple[list[tuple[float, float]], Counter, int]:
    """Run the load; ((seconds, MB) once a second, requests by kind and outcome, metrics bytes)."""
    with tempfile.TemporaryDirectory() as folder:
        base, second = Path(folder, "m"), Path(folder, "second")
        subprocess.run([sys.executable, "-c", EXPORT, base / "1", second / "1"], check=True)
        Path(folder, "monitoring").write_text("prometheus_config { enable: true }")
        rest_port = free_port()
        with serve(
            f"--rest_api_port={rest_port}",
            "--model_name=m",
            f"--model_base_path={base}",
            f"--monitoring_config_file={folder}/monitoring",
            "--enable_per_signature_metrics",
        ) as server:
            return _load(server, rest_port, base, second, minutes, threads)


def _load(
    server: Server, rest_port: int, base: Path, second: Path, minutes: float, threads: int
) -> tuple[list[tuple[float, float]], Counter, int]:
    clients = Clients(server, rest_port, base, second)
    counts: Counter = Counter()
    ended = threading.Event()
    samples: list[tuple[float, float]] = []
    page = 0
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with futures.ThreadPoolExecutor(threads) as pool:
        workers = [pool.submit(_work, clients, counts, ended) for _ in range(threads)]
        start = time.monotonic()
        # A client that fails for another reason than it should ends the run.
        while (now := time.monotonic() - start) < minutes * 60 and not any(
            worker.done() for worker in workers
        ):
            samples.append((round(now, 1), round(_resident(server.pid), 1)))
            if len(samples) % 10 == 0:
                page = len(opener.open(f"http://127.0.0.1:{rest_port}{METRICS}").read())
            if len(samples) % WINDOW_SECONDS == 0:
                median = statistics.median(value for _, value in samples[-WINDOW_SECONDS:])
                print(
                    f"{now:6.0f} s {median:8.1f} MB {sum(counts.values()):8d} requests, "
                    f"metrics {page} bytes",
                    flush=True,
                )
            time.sleep(1 - (time.monotonic() - start) % 1)
        ended.set()
        for worker in workers:
            worker.result()
    return samples, counts, page


def growth(samples: list[tuple[float, float]], settled: float) -> tuple[float, float]:
    """(MB at the second `settled`, the highest after it): medians of half minutes."""
    windows: dict[int, list[float]] = {}
    for seconds, value in samples:
        windows.setdefault(int((seconds - settled) // WINDOW_SECONDS), []).append(value)
    medians = {i: statistics.median(values) for i, values in windows.items()}
    return medians[0], max(value for i, value in medians.items() if i >= 0)


def draw(samples: list[tuple[float, float]], settled: float, level: float, path: Path) -> None:
    """Draw the curve and the bar."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.2), layout="constrained")
    axes = figure.subplots()
    axes.plot([t / 60 for t, _ in samples], [value for _, value in samples], linewidth=0.8)
    axes.axhline(level * BAR, color="tab:red", linewidth=0.8, linestyle="--")
    axes.axvline(settled / 60, color="0.7", linewidth=0.8)
    axes.set(xlabel="minutes", ylabel="resident memory, MB", ylim=(0, None))
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    """Run the load and judge the curve."""
    parser = argument_parser(__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--threads", type=int, default=8, help="of the clients")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw the curve there (.svg)")
    arguments = parser.parse_args()
    samples, counts, page = soak(arguments.minutes, arguments.threads)
    for (kind, outcome), count in sorted(counts.items()):
        print(f"{kind:24} {outcome:24} {count}")
    # A short run is looked at from its middle.
    settled = 60 * min(SETTLED_MINUTES, arguments.minutes / 2)
    before, highest = growth(samples, settled)
    if arguments.picture:
        draw(samples, settled, before, arguments.picture)
    results = Results()
    results.add(
        f"resident memory after minute {settled / 60:g}",
        f"{before:.0f} MB, at most {highest:.0f} MB ({highest / before - 1:+.1%})",
        f"<= {BAR - 1:+.0%}",
        highest <= before * BAR,
        samples=samples,
        requests={f"{kind} {outcome}": count for (kind, outcome), count in sorted(counts.items())},
    )
    results.add("page of metrics", f"{page / 1e3:.0f} kB", bytes=page)
    results.finish(arguments)


if __name__ == "__main__":
    main()
