"""The metrics of the model server: counters and histograms with TensorFlow Serving's names.

They belong to the process, as there: several servers in one process count together.
Names, labels and bucket limits are those of tensorflow_serving/servables/tensorflow/util.cc,
saved_model_warmup_util.cc, core/request_logger.cc and batching/batching_{session.cc,util.h}.
"""

from __future__ import annotations

import functools
import math
import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import prometheus_client
from prometheus_client.metrics_core import Metric

from serving.errors import StatusError
from serving.model_server.models.model import DEFAULT_SIGNATURE

# Model names come from requests: without bounds a caller could fill the memory with label values.
MAX_CELLS = 10_000
MAX_LABEL_CHARACTERS = 1024
OVERFLOW = "_overflow"
# Models and signatures that there are not count together: one cell each would be a leak.
UNKNOWN = "_unknown"

# The model server's own: not the one that every library in the process adds to.
REGISTRY = prometheus_client.CollectorRegistry()
_cells: defaultdict[Any, set[tuple[str, ...]]] = defaultdict(set)


class Counter(prometheus_client.Gauge):
    """A counter whose name is printed as it is; prometheus_client's would get `_total` appended."""

    def collect(self) -> Iterable[Metric]:
        """Return the cells, typed as a counter."""
        for metric in super().collect():
            metric.type = "counter"
            yield metric


class Histogram(prometheus_client.Histogram):
    """A histogram whose limits are printed with six digits, as absl::StrCat does: they are names.

    A value that equals a limit is counted in the bucket above it, as in TensorFlow's histograms.
    """

    def collect(self) -> Iterable[Metric]:
        """Return the cells, without the time at which each was made."""
        for metric in super().collect():
            metric.samples = [
                sample._replace(labels={k: _limit(k, v) for k, v in sample.labels.items()})
                for sample in metric.samples
                if not sample.name.endswith("_created")
            ]
            yield metric


def exponential_limits(scale: float, growth: float, count: int) -> list[float]:
    """Upper limits of `count` buckets, each `growth` times the one before; the first is `scale`.

    Multiplied up step by step, as monitoring::Buckets::Exponential does: the rounding is the same.
    """
    limits, limit = [], float(scale)
    for _ in range(count):
        limits.append(limit)
        limit *= growth
    return limits


def metric_name(name: str) -> str:
    """TensorFlow's name as Prometheus takes it: `/tensorflow/x` is `:tensorflow:x`."""
    return re.sub(r"[^a-zA-Z0-9_]", ":", name)


def counter(
    name: str, *labels: str, registry: prometheus_client.CollectorRegistry = REGISTRY
) -> Counter:
    """Return a new counter of TensorFlow's `name`."""
    return Counter(metric_name(name), name, labels, registry=registry)


def histogram(
    name: str,
    labels: Iterable[str],
    limits: Iterable[float],
    registry: prometheus_client.CollectorRegistry = REGISTRY,
) -> Histogram:
    """Return a new histogram of TensorFlow's `name`; a value below a limit is in its bucket."""
    # Prometheus' limits belong to the bucket below.
    buckets = [math.nextafter(limit, 0) for limit in limits]
    return Histogram(metric_name(name), name, labels, buckets=buckets, registry=registry)


def cell(metric: Any, *labels: str) -> Any:
    """The part of `metric` with these label values, or with OVERFLOW if there may be no more."""
    known = _cells[metric]
    if labels not in known:
        if len(known) >= MAX_CELLS or max(map(len, labels)) > MAX_LABEL_CHARACTERS:
            labels = (OVERFLOW,) * len(labels)
        known.add(labels)
    return metric.labels(*labels)


def total(name: str, registry: prometheus_client.CollectorRegistry = REGISTRY) -> int:
    """Sum of all cells of the counter of TensorFlow's `name`; 0 if there is no such counter."""
    metrics = registry.restricted_registry([metric_name(name)]).collect()
    return int(sum(sample.value for metric in metrics for sample in metric.samples))


# 10 microseconds to 20 minutes.
_LATENCY = exponential_limits(10, 1.8, 33)
_SIZES = exponential_limits(1, 2, 14)

REQUEST_COUNT = counter("/tensorflow/serving/request_count", "model_name", "status")
REQUEST_LATENCY = histogram(
    "/tensorflow/serving/request_latency", ("model_name", "API", "entrypoint"), _LATENCY
)
RUNTIME_LATENCY = histogram(
    "/tensorflow/serving/runtime_latency", ("model_name", "API", "runtime"), _LATENCY
)
REQUEST_EXAMPLE_COUNTS = histogram(
    "/tensorflow/serving/request_example_counts", ("model",), exponential_limits(1, 2, 15)
)
REQUEST_EXAMPLE_COUNT_TOTAL = counter("/tensorflow/serving/request_example_count_total", "model")
# Never counted, as in TensorFlow Serving's open-source build: only its `# TYPE` line is published.
counter("/tensorflow/serving/request_log_count", "model_name", "status_code")
WARMUP_LATENCY = histogram(
    "/tensorflow/serving/model_warmup_latency", ("model_path", "status"), _LATENCY
)
WARMUP_RECORDS_READ = counter(
    "/tensorflow/serving/model_warmup_records_read", "model_path", "status"
)
_BATCHING = "/tensorflow/serving/batching_session"
QUEUING_LATENCY = histogram(
    f"{_BATCHING}/queuing_latency", ("thread_pool_name",), exponential_limits(100, 1.2, 52)
)
WRAPPED_RUN_COUNT = counter(f"{_BATCHING}/wrapped_run_count")
PADDING_SIZE = histogram(f"{_BATCHING}/padding_size", ("execution_batch_size",), _SIZES)
INPUT_BATCH_SIZE = histogram(f"{_BATCHING}/input_batch_size", (), _SIZES)
PROCESSED_BATCH_SIZE = histogram(f"{_BATCHING}/processed_batch_size", (), _SIZES)

# Not TensorFlow Serving's: counted only where --enable_per_signature_metrics is set.
SIGNATURE_REQUEST_COUNT = counter(
    "/vlsearch/serving/signature_request_count", "model_name", "signature_name", "API", "status"
)
SIGNATURE_REQUEST_LATENCY = histogram(
    "/vlsearch/serving/signature_request_latency",
    ("model_name", "signature_name", "API"),
    _LATENCY,
)


def record_request(model_name: str, api: str, entrypoint: str, status: str, start: float) -> None:
    """Count one request, and if it succeeded its latency.

    TensorFlow Serving counts Predict, Classify and Regress of gRPC, and every request of REST.

    Args:
        model_name: that the request names, or UNKNOWN.
        api: "Predict", "Classify", "Regress" over gRPC; the verb of the path over REST.
        entrypoint: "GRPC" or "REST".
        status: name of the status code, "OK" for success.
        start: `time.perf_counter()` when the request came in.
    """
    cell(REQUEST_COUNT, model_name, status).inc()
    if status == "OK":
        cell(REQUEST_LATENCY, model_name, api, entrypoint).observe(_microseconds(start))


def counted_by_signature(
    api: str, method: Callable[..., Any], known: Callable[[Any], tuple[str, str]]
) -> Callable[..., Any]:
    """Return `method` counting by signature.

    Args:
        api: "Predict", "Classify" or "Regress".
        method: answers requests that have a `model_spec`.
        known: the model and signature of a ModelSpec, or UNKNOWN.
    """

    @functools.wraps(method)
    def counted(request: Any, **keywords: Any) -> Any:
        start = time.perf_counter()
        spec = request.model_spec
        try:
            response = method(request, **keywords)
        except StatusError as error:
            cell(SIGNATURE_REQUEST_COUNT, *known(spec), api, error.code.name).inc()
            raise
        labels = spec.name, spec.signature_name or DEFAULT_SIGNATURE, api
        cell(SIGNATURE_REQUEST_COUNT, *labels, "OK").inc()
        cell(SIGNATURE_REQUEST_LATENCY, *labels).observe(_microseconds(start))
        return response

    return counted


def record_runtime(model_name: str, api: str, start: float) -> None:
    """Record how long TensorFlow took for one run that began at `start` and succeeded."""
    cell(RUNTIME_LATENCY, model_name, api, "TF1").observe(_microseconds(start))


def record_examples(model_name: str, count: int) -> None:
    """Record the number of tf.Examples of one MultiInference request."""
    cell(REQUEST_EXAMPLE_COUNTS, model_name).observe(count)
    cell(REQUEST_EXAMPLE_COUNT_TOTAL, model_name).inc(count)


def record_warmup(folder: Path, status: str, records: int, start: float) -> None:
    """Record one replay of a warm-up file: how it ended, and how many records were read."""
    cell(WARMUP_LATENCY, str(folder), status).observe(_microseconds(start))
    cell(WARMUP_RECORDS_READ, str(folder), status).inc(records)


def record_batched_run(
    thread_pool_name: str,
    wait_microseconds: float,
    rows: int,
    begun: Iterable[tuple[int, int]],
) -> None:
    """Record one request that was run in batches.

    Args:
        thread_pool_name: of the batching parameters.
        wait_microseconds: how long it was queued.
        rows: its rows.
        begun: (rows run, of which padding) of the batches whose first row was one of its rows, so
            that each batch is recorded by one of its requests.
    """
    cell(QUEUING_LATENCY, thread_pool_name).observe(wait_microseconds)
    INPUT_BATCH_SIZE.observe(rows)
    for executed_rows, padding in begun:
        WRAPPED_RUN_COUNT.inc()
        PROCESSED_BATCH_SIZE.observe(executed_rows)
        cell(PADDING_SIZE, str(executed_rows)).observe(padding)


def _microseconds(start: float) -> float:
    # Whole microseconds, as TensorFlow Serving's clock has.
    return int((time.perf_counter() - start) * 1e6)


def _limit(label: str, value: str) -> str:
    return f"{float(value):g}" if label == "le" and value != "+Inf" else value
