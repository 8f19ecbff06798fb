import time

import pytest
from prometheus_client import CollectorRegistry

from serving.errors import Code, StatusError
from serving.model_server.monitoring import metrics
from serving.model_server.monitoring.metrics import (
    MAX_CELLS,
    REGISTRY,
    cell,
    counter,
    exponential_limits,
    histogram,
    total,
)


def _samples(metric):
    """Value by the end of the sample's name and the values of its labels."""
    (family,) = metric.collect()
    return {
        (sample.name.removeprefix(family.name), *sample.labels.values()): sample.value
        for sample in family.samples
    }


def test_limits_grow_by_the_factor():
    assert exponential_limits(10, 1.8, 4) == [10.0, 18.0, 32.4, 58.32]
    limits = exponential_limits(10, 1.8, 33)
    # About 20 minutes.
    assert 60e6 * 20 < limits[-1] < 60e6 * 26


def test_counter_by_labels_and_in_total():
    registry = CollectorRegistry()
    counted = counter("/a/b", "model", "status", registry=registry)
    cell(counted, "m", "OK").inc()
    cell(counted, "m", "OK").inc(4)
    cell(counted, "m", "NOT_FOUND").inc()
    assert _samples(counted) == {("", "m", "OK"): 5, ("", "m", "NOT_FOUND"): 1}
    assert total("/a/b", registry) == 6


def test_total_of_what_is_no_counter():
    registry = CollectorRegistry()
    histogram("/h", (), [1.0], registry).observe(1)
    assert total("/h", registry) == 0
    assert total("/unknown", registry) == 0


def test_a_value_on_a_limit_belongs_to_the_bucket_above():
    counted = histogram("/h", ("label",), [1.0, 2.0], CollectorRegistry())
    for value in (0.5, 1.0, 2.0, 7.0):
        cell(counted, "x").observe(value)
    assert _samples(counted) == {
        ("_bucket", "x", "1"): 1,
        ("_bucket", "x", "2"): 2,
        ("_bucket", "x", "+Inf"): 4,
        ("_count", "x"): 4,
        ("_sum", "x"): 10.5,
    }


def test_callers_cannot_fill_the_memory_with_names():
    registry = CollectorRegistry()
    counted = counter("/c", "model", "status", registry=registry)
    for i in range(MAX_CELLS + 5):
        cell(counted, f"m{i}", "NOT_FOUND").inc()
    cell(counted, "m0", "NOT_FOUND").inc()
    values = _samples(counted)
    assert len(values) == MAX_CELLS + 1
    assert values["", "m0", "NOT_FOUND"] == 2
    assert values["", "_overflow", "_overflow"] == 5
    sizes = histogram("/h", ("model",), [1.0], registry)
    cell(sizes, "x" * 2000).observe(0)
    assert {labels[1] for labels in _samples(sizes)} == {"_overflow"}


def _read(name, **labels):
    return REGISTRY.get_sample_value(f":tensorflow:serving:{name}", labels)


def test_requests_that_fail_are_counted_without_a_latency():
    before = _samples(metrics.REQUEST_LATENCY)
    metrics.record_request("metrics-test", "Predict", "GRPC", "NOT_FOUND", time.perf_counter())
    assert _samples(metrics.REQUEST_LATENCY) == before
    metrics.record_request("metrics-test", "Predict", "GRPC", "OK", time.perf_counter() - 0.001)
    assert _read("request_count", model_name="metrics-test", status="NOT_FOUND") == 1
    assert _read("request_count", model_name="metrics-test", status="OK") == 1
    labels = {"model_name": "metrics-test", "API": "Predict", "entrypoint": "GRPC"}
    assert _read("request_latency_count", **labels) == 1
    assert _read("request_latency_sum", **labels) >= 1000


def test_examples_of_a_request():
    metrics.record_examples("metrics-test", 3)
    metrics.record_examples("metrics-test", 5)
    assert _read("request_example_count_total", model="metrics-test") == 8
    counts = [
        _read("request_example_counts_bucket", model="metrics-test", le=le)
        for le in ("1", "2", "4", "8", "16")
    ]
    assert counts == [0, 0, 1, 2, 2]
    assert _read("request_example_counts_sum", model="metrics-test") == 8


def test_batched_requests():
    runs = total("/tensorflow/serving/batching_session/wrapped_run_count")
    # One batch of two requests: the one with the first row records it.
    metrics.record_batched_run("metrics-test-pool", 50.0, 3, begun=[(7_777, 2)])
    metrics.record_batched_run("metrics-test-pool", 150.0, 2, begun=[])
    session = "batching_session:"
    pool = "metrics-test-pool"
    assert _read(f"{session}queuing_latency_sum", thread_pool_name=pool) == 200
    assert _read(f"{session}padding_size_sum", execution_batch_size="7777") == 2
    assert total("/tensorflow/serving/batching_session/wrapped_run_count") == runs + 1


def test_counting_by_signature():
    from tensorflow_serving.apis import predict_pb2

    def predict(request, *, deadline=None):
        if deadline is None:
            raise StatusError(Code.NOT_FOUND, "no")
        return deadline

    counted = metrics.counted_by_signature(
        "Predict", predict, lambda spec: (spec.name, metrics.UNKNOWN)
    )
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "metrics-test"
    assert counted(request, deadline=1.0) == 1.0
    request.model_spec.signature_name = "s"
    with pytest.raises(StatusError):
        counted(request)
    values = _samples(metrics.SIGNATURE_REQUEST_COUNT)
    assert values["", "metrics-test", "serving_default", "Predict", "OK"] == 1
    assert values["", "metrics-test", "_unknown", "Predict", "NOT_FOUND"] == 1
    latencies = _samples(metrics.SIGNATURE_REQUEST_LATENCY)
    assert ("_count", "metrics-test", "serving_default", "Predict") in latencies
    assert ("_count", "metrics-test", "s", "Predict") not in latencies
