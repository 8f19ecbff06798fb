"""What is counted, seen from the page of metrics."""

import json
import re

import grpc
import pytest
import tensorflow as tf
from tensorflow_serving.apis import (
    classification_pb2,
    predict_pb2,
    prediction_log_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from serving.client import PredictClient
from serving.errors import StatusError
from serving.model_server.server import ModelServer, ServerOptions
from serving.warmup import WARMUP_FILE
from tests.serving.sockets import exchange, post

MODEL = "monitored"
BODY = b'{"instances": [1.0]}'


@pytest.fixture(scope="module")
def monitored(half_plus_two, tmp_path_factory):
    """A server with metrics at a path of its own; its model has a warm-up record."""
    base = tmp_path_factory.mktemp("monitored")
    version = base / "123"
    version.mkdir()
    for item in (half_plus_two / "00000123").iterdir():
        (version / item.name).symlink_to(item)
    request = predict_pb2.PredictRequest()
    request.model_spec.name = MODEL
    request.inputs["x"].CopyFrom(tf.make_tensor_proto([1.0]))
    log = prediction_log_pb2.PredictionLog()
    log.predict_log.request.CopyFrom(request)
    (version / WARMUP_FILE).parent.mkdir()
    with tf.io.TFRecordWriter(str(version / WARMUP_FILE)) as writer:
        writer.write(log.SerializeToString())
    (base / "monitoring").write_text('prometheus_config { enable: true path: "/metrics" }')
    options = ServerOptions(
        port=None,
        rest_api_port=None,
        model_name=MODEL,
        model_base_path=str(base),
        monitoring_config_file=str(base / "monitoring"),
        enable_per_signature_metrics=True,
    )
    with ModelServer(options) as server:
        yield server, version


@pytest.fixture
def page(monitored):
    """() -> {name and labels: value} of the page of metrics."""
    server, _ = monitored

    def page():
        status, headers, body = exchange(
            server.rest_port, b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
        )
        assert (status, headers["Content-Type"]) == (200, "text/plain")
        lines = body.decode().splitlines()
        for line in lines:
            assert re.fullmatch(
                r"# TYPE [a-zA-Z_:][a-zA-Z0-9_:]* (counter|gauge|histogram)|# HELP .*"
                r'|[a-zA-Z_:][a-zA-Z0-9_:]*(\{([a-zA-Z_]+="([^"\\\n]|\\.)*",?)*\})? \S+',
                line,
            ), line
        samples = (line.rpartition(" ") for line in lines if not line.startswith("#"))
        return {_in_order(name): float(value) for name, _, value in samples}

    return page


def _in_order(name):
    """`name` with its labels by their names: their order says nothing."""
    labels = sorted(re.findall(r'[a-zA-Z_]+="(?:[^"\\]|\\.)*"', name))
    return name.partition("{")[0] + f"{{{','.join(labels)}}}"


def _expected(samples):
    return {_in_order(name): value for name, value in samples.items()}


def _grown(before, after):
    """What was counted in between, without the buckets of histograms and their sums."""
    return {
        name: after[name] - before.get(name, 0)
        for name in after
        if after[name] != before.get(name, 0)
        and not name.startswith("process_")
        and "_bucket{" not in name
        and "_sum{" not in name
    }


def test_rest(monitored, page):
    server, _ = monitored
    before = page()
    for path, body in (
        (f"/v1/models/{MODEL}:predict", b'{"signature_name": "serving_default", "instances": [1]}'),
        (f"/v1/models/{MODEL}:predict", b"{"),
        ("/v1/models/nobody:predict", BODY),
        ("/v1/models/x:y:z", BODY),
    ):
        exchange(server.rest_port, post(path, body), "POST")
    exchange(server.rest_port, f"GET /v1/models/{MODEL} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    exchange(server.rest_port, b"GET /elsewhere HTTP/1.1\r\nHost: x\r\n\r\n")
    serving = ":tensorflow:serving:"
    assert _grown(before, page()) == _expected({
        f'{serving}request_count{{model_name="{MODEL}",status="OK"}}': 2,
        f'{serving}request_count{{model_name="{MODEL}",status="INVALID_ARGUMENT"}}': 1,
        f'{serving}request_count{{model_name="_unknown",status="NOT_FOUND"}}': 1,
        f'{serving}request_count{{model_name="",status="INVALID_ARGUMENT"}}': 1,
        f'{serving}request_latency_count{{model_name="{MODEL}",API="predict",'
        'entrypoint="REST"}': 1,
        # The status of a model has no API.
        f'{serving}request_latency_count{{model_name="{MODEL}",API="",entrypoint="REST"}}': 1,
        f'{serving}runtime_latency_count{{model_name="{MODEL}",API="Predict",runtime="TF1"}}': 1,
        ":vlsearch:serving:signature_request_count"
        f'{{model_name="{MODEL}",signature_name="serving_default",API="Predict",status="OK"}}': 1,
        ":vlsearch:serving:signature_request_latency_count"
        f'{{model_name="{MODEL}",signature_name="serving_default",API="Predict"}}': 1,
    })  # fmt: skip


def test_grpc(monitored, page):
    server, _ = monitored
    before = page()
    with PredictClient(f"127.0.0.1:{server.grpc_port}") as client:
        client.predict(MODEL, {"x": [1.0]})
        with pytest.raises(StatusError):
            client.predict(MODEL, {"x": [1.0]}, "nope")
        # Neither is counted.
        client.model_status(MODEL)
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        for request, method, signature in (
            (classification_pb2.ClassificationRequest(), stub.Classify, "classify_x_to_y"),
            (regression_pb2.RegressionRequest(), stub.Regress, "regress_x_to_y"),
        ):
            request.model_spec.name = MODEL
            request.model_spec.signature_name = signature
            request.input.example_list.examples.add()
            method(request)
    serving = ":tensorflow:serving:"
    signatures = ":vlsearch:serving:signature_request_"
    expected = {
        f'{serving}request_count{{model_name="{MODEL}",status="OK"}}': 3,
        f'{serving}request_count{{model_name="{MODEL}",status="FAILED_PRECONDITION"}}': 1,
        f'{signatures}count{{model_name="{MODEL}",signature_name="_unknown",API="Predict",'
        'status="FAILED_PRECONDITION"}': 1,
    }  # fmt: skip
    for api, signature in (
        ("Predict", "serving_default"),
        ("Classify", "classify_x_to_y"),
        ("Regress", "regress_x_to_y"),
    ):
        labels = f'model_name="{MODEL}",API="{api}"'
        expected[f'{serving}request_latency_count{{{labels},entrypoint="GRPC"}}'] = 1
        expected[f'{serving}runtime_latency_count{{{labels},runtime="TF1"}}'] = 1
        labels = f'model_name="{MODEL}",signature_name="{signature}",API="{api}"'
        expected[f'{signatures}count{{{labels},status="OK"}}'] = 1
        expected[f"{signatures}latency_count{{{labels}}}"] = 1
    assert _grown(before, page()) == _expected(expected)


def test_names_that_there_are_not_count_together(monitored, page):
    """Callers choose them: a line for each would make the page, and the memory, grow for ever."""
    server, _ = monitored
    before = page()
    with PredictClient(f"127.0.0.1:{server.grpc_port}") as client:
        for name in ("a", "b", "c"):
            with pytest.raises(StatusError):
                client.predict(name, {"x": [1.0]}, name)
            with pytest.raises(StatusError):
                client.predict(MODEL, {"x": [1.0]}, name)
            for request in (
                post(f"/v1/models/{name}:predict", BODY),
                f"GET /v1/models/{name} HTTP/1.1\r\nHost: x\r\n\r\n".encode(),
            ):
                assert exchange(server.rest_port, request)[0] == 404
    count, by_signature = (
        ":tensorflow:serving:request_count",
        ":vlsearch:serving:signature_request_count",
    )
    bad = 'signature_name="_unknown",API="Predict"'
    assert _grown(before, page()) == _expected({
        f'{count}{{model_name="_unknown",status="NOT_FOUND"}}': 9,
        f'{count}{{model_name="{MODEL}",status="FAILED_PRECONDITION"}}': 3,
        f'{by_signature}{{model_name="_unknown",{bad},status="NOT_FOUND"}}': 3,
        f'{by_signature}{{model_name="{MODEL}",{bad},status="FAILED_PRECONDITION"}}': 3,
    })  # fmt: skip


def test_buckets(monitored, page):
    server, _ = monitored
    exchange(server.rest_port, post(f"/v1/models/{MODEL}:predict", BODY), "POST")
    labels = f'API="predict",entrypoint="REST",le="(.*)",model_name="{MODEL}"'
    pattern = f":tensorflow:serving:request_latency_bucket{{{labels}}}"
    buckets = [(match[1], v) for k, v in page().items() if (match := re.fullmatch(pattern, k))]
    limits = [limit for limit, _ in buckets]
    assert limits[:5] == ["10", "18", "32.4", "58.32", "104.976"]
    assert len(limits) == 34
    assert limits[-1] == "+Inf"
    counts = [count for _, count in buckets]
    assert counts == sorted(counts)
    labels = labels.replace('le="(.*)",', "")
    assert counts[-1] == page()[f":tensorflow:serving:request_latency_count{{{labels}}}"]


def test_warm_up(monitored, page):
    _, version = monitored
    labels = f'{{model_path="{version}",status="OK"}}'
    samples = page()
    assert samples[f":tensorflow:serving:model_warmup_records_read{labels}"] == 1
    assert samples[f":tensorflow:serving:model_warmup_latency_count{labels}"] == 1
    assert samples[f":tensorflow:serving:model_warmup_latency_sum{labels}"] > 0


def test_other_methods_read_the_metrics_too(monitored):
    server, _ = monitored
    status, _, body = exchange(server.rest_port, post("/metrics", b""), "POST")
    assert status == 200
    assert b"# TYPE :tensorflow:serving:request_count counter\n" in body


def test_a_request_that_was_refused_for_its_size_is_counted(monitored, page):
    server, _ = monitored
    before = page()
    head = f"POST /v1/models/{MODEL}:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n"
    status, _, body = exchange(server.rest_port, f"{head}\r\n".encode(), "POST")
    assert status == 413
    assert "268435456 bytes" in json.loads(body)["error"]
    labels = f'{{model_name="{MODEL}",status="RESOURCE_EXHAUSTED"}}'
    assert _grown(before, page()) == {f":tensorflow:serving:request_count{labels}": 1}
