"""Throughput and latency of the model server, as ratios to the same model called in process.

    python benchmarks/serving.py [--config configs/emoji.yaml ...] [--seconds 5] [--rounds 3]

A text tower of each configuration is exported with fresh weights (they do not change its speed)
and served by `vlsearch-model-server` in a process of its own. Requests of one query come from
h2load (Debian's nghttp2-client), which sends prepared gRPC frames and costs little CPU. Everything
is measured round by round beside the call in process, and the median ratio is reported, because the
machine's speed changes from minute to minute.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from _model_server import Server, fill_query, free_port, serve
from _shared import Results, argument_parser

from serving import wire
from serving.client import PredictClient

STREAMS = 32
SIZES = (1, 8, 32, 64, 128, 256)
QUERY = "birthday cake"
MODEL = "text_tower"
PREDICT = "tensorflow.serving.PredictionService/Predict"
STATUS = "tensorflow.serving.ModelService/GetModelStatus"
BATCHING = """
max_batch_size { value: 16 }
batch_timeout_micros { value: 2000 }
num_batch_threads { value: 2 }
max_enqueued_batches { value: 100 }
"""
TRANSPORT = "gRPC alone (GetModelStatus)"
MONITORING = "prometheus_config { enable: true }"
BAR, REST_BAR, P50_BAR, P99_BAR = 0.6, 0.5, 1.5, 5.0


def export_text_tower(config: Path, folder: Path) -> Path:
    """Base path of a text tower as `config` describes it, version 1."""
    from tfx_pipeline.config import ExperimentConfig
    from vl_models.export import export_members
    from vl_models.models.registry import build_model
    from vl_models.text.vocabulary import SPECIAL_TOKENS
    from vl_models.text.wordpiece import WordPieceTokenizer

    experiment = ExperimentConfig.load(config)
    words = [*QUERY.split(), *(f"word{i}" for i in range(experiment.vocabulary.size))]
    vocabulary = [*SPECIAL_TOKENS, *words][: experiment.vocabulary.size]
    model_config = experiment.model.model_copy(update={"vocabulary_size": len(vocabulary)})
    model = build_model(model_config)
    tokenizer = WordPieceTokenizer(vocabulary, max_length=model_config.max_length)
    tower = export_members(model, tokenizer, folder / "export")[MODEL]
    base = folder / MODEL
    base.mkdir()
    shutil.move(tower, base / "1")
    return base


class InProcess:
    """The loaded signature, called from one thread."""

    def __init__(self, folder: Path):
        from serving.model_server.models.model import DEFAULT_SIGNATURE
        from serving.model_server.models.saved_model import SavedModel

        self._model = SavedModel.load(folder)
        signature = self._model.signatures[DEFAULT_SIGNATURE]
        self._feed = signature.inputs["query"].name
        self._fetches = [signature.outputs["embedding"].name]

    def call(self, rows: int) -> np.ndarray:
        """Embeddings of so many queries."""
        queries = np.full(rows, QUERY.encode(), dtype=object)
        return self._model.run({self._feed: queries}, self._fetches)[0]

    def best_rate(self, seconds: float) -> tuple[float, int]:
        """(rows/s, batch size) of the best batch size."""
        return max((self._rate(size, seconds / len(SIZES)), size) for size in SIZES)

    def cpu_seconds(self, rows: int, calls: int = 100) -> float:
        """CPU seconds for each row."""
        self.call(rows)
        start = time.process_time()
        for _ in range(calls):
            self.call(rows)
        return (time.process_time() - start) / (calls * rows)

    def latencies(self, count: int) -> list[float]:
        """Milliseconds of `count` calls with one row."""
        times = []
        for _ in range(count):
            start = time.perf_counter()
            self.call(1)
            times.append((time.perf_counter() - start) * 1e3)
        return times

    def _rate(self, size: int, seconds: float) -> float:
        self.call(size)
        start, calls = time.perf_counter(), 0
        while time.perf_counter() < start + seconds:
            self.call(size)
            calls += 1
        return calls * size / (time.perf_counter() - start)


@dataclass
class Served:
    """A running model server and the port of its REST API."""

    server: Server
    rest_port: int


@contextmanager
def serve_tower(base: Path, work: Path, *flags: str) -> Iterator[Served]:
    """The tower behind gRPC and REST, with these flags, until the block is left."""
    rest_port = free_port()
    (work / "monitoring").write_text(MONITORING)
    common = (
        f"--rest_api_port={rest_port}",
        *(f"--model_name={MODEL}", f"--model_base_path={base}"),
        f"--monitoring_config_file={work / 'monitoring'}",
        # As TensorFlow Serving, a thread waits for each request: fewer threads, smaller batches.
        *(f"--grpc_max_threads={STREAMS}", f"--rest_api_num_threads={STREAMS}"),
    )
    with serve(*common, *flags) as server:
        yield Served(server, rest_port)


@dataclass
class Load:
    """What h2load measured: requests per second, CPU seconds per request.

    Attributes:
        sent: requests, with those that were not measured.
    """

    rate: float
    server_cpu: float
    client_cpu: float
    sent: int


class H2Load:
    """Prepared requests, sent by h2load."""

    def __init__(self, work: Path):
        self._work = work
        predict = wire.PredictRequest()
        fill_query(predict, MODEL, QUERY)
        status = wire.GetModelStatusRequest()
        status.model_spec.name = MODEL
        for method, request in ((PREDICT, predict), (STATUS, status)):
            message = request.SerializeToString()
            # gRPC's frame: not compressed, length, message.
            self._body(method).write_bytes(struct.pack(">BI", 0, len(message)) + message)
        (work / "rest").write_text(json.dumps({"instances": [QUERY]}))

    def grpc(self, served: Served, seconds: float, method: str) -> Load:
        """Load of 32 streams in one connection."""
        return self._run(served, seconds, *self._grpc_arguments(served, STREAMS, method))

    def rest(self, served: Served, seconds: float) -> Load:
        """Load of 32 connections."""
        url = f"http://127.0.0.1:{served.rest_port}/v1/models/{MODEL}:predict"
        arguments = ["--h1", "-c", str(STREAMS), "-d", str(self._work / "rest"), url]
        return self._run(served, seconds, *arguments)

    def latencies(self, served: Served, count: int) -> list[float]:
        """Milliseconds of `count` gRPC requests, one after the other."""
        log = self._work / "latencies"
        log.unlink(missing_ok=True)
        self._h2load(f"--log-file={log}", "-n", str(count), *self._grpc_arguments(served, 1))
        return [int(line.split("\t")[2]) / 1e3 for line in log.read_text().splitlines()]

    def _grpc_arguments(self, served: Served, streams: int, method: str = PREDICT) -> list[str]:
        url = f"http://127.0.0.1:{served.server.port}/{method}"
        headers = ["-H", "content-type: application/grpc", "-H", "te: trailers"]
        return ["-c", "1", "-m", str(streams), "-d", str(self._body(method)), *headers, url]

    def _body(self, method: str) -> Path:
        return self._work / method.replace("/", "-")

    def _run(self, served: Served, seconds: float, *arguments: str) -> Load:
        warm_up, trial = 10 * STREAMS, 20 * STREAMS
        self._h2load("-n", str(warm_up), *arguments)
        start = time.perf_counter()
        self._h2load("-n", str(trial), *arguments)
        guess = trial / (time.perf_counter() - start)
        count = max(trial, int(guess * seconds))

        server_cpu, client_cpu, start = (
            served.server.cpu_seconds(),
            _children_cpu(),
            time.perf_counter(),
        )
        self._h2load("-n", str(count), *arguments)
        elapsed = time.perf_counter() - start
        return Load(
            count / elapsed,
            (served.server.cpu_seconds() - server_cpu) / count,
            (_children_cpu() - client_cpu) / count,
            warm_up + trial + count,
        )

    def _h2load(self, *arguments: str) -> None:
        subprocess.run(["h2load", *arguments], stdout=subprocess.DEVNULL, check=True)


def _children_cpu() -> float:
    """CPU seconds of the child processes that have ended."""
    times = os.times()
    return times.children_user + times.children_system


def counted(served: Served, run: Callable[..., Load], *arguments: object) -> Load:
    """The load of `run`; ends the benchmark if a request was not answered with OK."""
    before = _answered(served)
    load = run(served, *arguments)
    answered = _answered(served) - before
    if answered != load.sent:
        sys.exit(f"Of {load.sent} requests only {answered} succeeded.")
    return load


def _answered(served: Served) -> int:
    """Requests that the server says it answered with OK."""
    url = f"http://127.0.0.1:{served.rest_port}/monitoring/prometheus/metrics"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    text = opener.open(url).read().decode()
    pattern = r'^:tensorflow:serving:request_count\{[^}]*status="OK"\} (\S+)'
    return round(sum(float(value) for value in re.findall(pattern, text, re.MULTILINE)))


def check_answer(served: Served, model: InProcess) -> None:
    """Ends the benchmark if the server's answer is not the one of the model in process."""
    with PredictClient(f"127.0.0.1:{served.server.port}") as client:
        answer = client.predict(MODEL, {"query": [QUERY]})["embedding"]
    if not np.allclose(answer, model.call(1), atol=1e-5):
        sys.exit("The server's answer differs from that of the model in process.")


def measure(config: Path, results: Results, seconds: float, rounds: int) -> None:
    """All rows of one configuration."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        base = export_text_tower(config, work)
        (work / "batching").write_text(BATCHING)
        batching = (
            "--enable_batching",
            f"--batching_parameters_file={work / 'batching'}",
            "--tensorflow_intra_op_parallelism=1",
        )
        model, load = InProcess(base / "1"), H2Load(work)
        with serve_tower(base, work, *batching) as batched, serve_tower(base, work) as plain:
            check_answer(batched, model)
            check_answer(plain, model)
            kinds: dict[str, Callable[[], Load]] = {
                "gRPC, batching": lambda: counted(batched, load.grpc, seconds, PREDICT),
                "gRPC, no batching": lambda: counted(plain, load.grpc, seconds, PREDICT),
                "REST, batching": lambda: counted(batched, load.rest, seconds),
                "REST, no batching": lambda: counted(plain, load.rest, seconds),
                TRANSPORT: lambda: load.grpc(plain, seconds, STATUS),
            }
            loads: dict[str, list[Load]] = {kind: [] for kind in kinds}
            inside = []
            for _ in range(rounds):
                inside.append(model.best_rate(seconds))
                for kind, run in kinds.items():
                    loads[kind].append(run())
            inner, outer = model.latencies(500), load.latencies(plain, 500)
            _report(config.stem, results, inside, loads)
            _report_latency(config.stem, results, inner, outer)
            results.add(
                f"{config.stem}: TensorFlow's CPU time, in process, 32 rows at a time",
                f"{model.cpu_seconds(STREAMS) * 1e6:.0f} us a row",
            )


def _report(
    name: str,
    results: Results,
    inside: list[tuple[float, int]],
    loads: dict[str, list[Load]],
) -> None:
    best, size = statistics.median_low(inside)
    results.add(f"{name}: in process, one thread", f"{best:,.0f} rows/s at {size}", rate=best)
    for kind, runs in loads.items():
        rate = statistics.median(run.rate for run in runs)
        ratio = statistics.median(run.rate / inner for run, (inner, _) in zip(runs, inside))
        server = statistics.median(run.server_cpu for run in runs) * 1e6
        client = statistics.median(run.client_cpu for run in runs) * 1e6
        bar = kind == "gRPC, batching"
        results.add(
            f"{name}: {kind}, {STREAMS} streams",
            f"{rate:,.0f}/s, {ratio:.0%} of in process; CPU {server:.0f} us + h2load {client:.0f}",
            f">= {BAR:.0%}" if bar else "",
            ratio >= BAR if bar else None,
            rate=rate,
            ratio=ratio,
            server_cpu_us=server,
        )
    for mode in ("batching", "no batching"):
        pairs = zip(loads[f"REST, {mode}"], loads[f"gRPC, {mode}"])
        ratio = statistics.median(rest.rate / grpc.rate for rest, grpc in pairs)
        results.add(
            f"{name}: REST / gRPC, {mode}",
            f"{ratio:.0%}",
            f">= {REST_BAR:.0%}",
            ratio >= REST_BAR,
            ratio=ratio,
        )


def _report_latency(name: str, results: Results, inner: list[float], outer: list[float]) -> None:
    for percent, bar in ((50, P50_BAR), (99, P99_BAR)):
        before = float(np.percentile(inner, percent))
        added = float(np.percentile(outer, percent)) - before
        results.add(
            f"{name}: one client, added to p{percent}",
            f"{added:.2f} ms (in process {before:.2f})",
            f"<= {bar} ms",
            added <= bar,
            added=added,
        )


def main() -> None:
    """Measure the text towers of some configurations."""
    parser = argument_parser(__doc__)
    parser.add_argument(
        "--config", type=Path, nargs="+", default=[Path("configs/emoji.yaml")], metavar="FILE"
    )
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    if shutil.which("h2load") is None:
        sys.exit("h2load is missing: bash scripts/install_debian.sh nghttp2-client")
    results = Results()
    for config in arguments.config:
        measure(config, results, arguments.seconds, arguments.rounds)
    results.finish(arguments)


if __name__ == "__main__":
    main()
