"""Nothing that is quick waits behind what is slow: more slow calls than threads, real sockets."""

import concurrent.futures
import contextlib
import json

import grpc
import pytest
from google.protobuf import text_format
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from serving.model_server.rpc.health import HealthCheckRequest, HealthCheckResponse, Status
from serving.model_server.rpc.pools import MAX_RELOADS
from serving.model_server.server import ModelServer, ServerOptions
from tests.serving.sockets import exchange, post
from tests.serving.waiting import wait_until

pytestmark = pytest.mark.timing

METRICS = "/monitoring/prometheus/metrics"
TIMEOUT = 30


@pytest.fixture
def server(arithmetic, tmp_path):
    """A server with as few threads as there can be."""
    (tmp_path / "monitoring").write_text("prometheus_config { enable: true }")
    options = ServerOptions(
        port=None,
        rest_api_port=None,
        model_name="m",
        model_base_path=str(arithmetic),
        grpc_max_threads=1,
        rest_api_num_threads=1,
        enable_grpc_healthcheck_service=True,
        rest_api_health_path="/healthz",
        monitoring_config_file=str(tmp_path / "monitoring"),
        max_num_load_retries=0,
    )
    with ModelServer(options) as server:
        yield server


@pytest.fixture
def channel(server):
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        yield channel


def _health(channel):
    check = channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        HealthCheckRequest.SerializeToString,
        HealthCheckResponse.FromString,
    )
    return check(HealthCheckRequest(), timeout=TIMEOUT).status == Status.SERVING


def _predict(channel, signature="serving_default", **inputs):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "m"
    request.model_spec.signature_name = signature
    for key, (value, *dimensions) in inputs.items():
        request.inputs[key].dtype = 1
        request.inputs[key].float_val.append(value)
        for size in dimensions:
            request.inputs[key].tensor_shape.dim.add(size=size)
    predict = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict
    return predict.future(request, timeout=TIMEOUT)


def _reload(channel, *models, timeout=None):
    configs = "".join(
        f'config {{ name: "{name}" base_path: "{path}" model_platform: "tensorflow" }}'
        for name, path in models
    )
    request = text_format.Parse(
        f"config {{ model_config_list {{ {configs} }} }}",
        model_management_pb2.ReloadConfigRequest(),
    )
    return model_service_pb2_grpc.ModelServiceStub(channel).HandleReloadConfigRequest.future(
        request, timeout=timeout
    )


def test_predictions_hold_up_nobody_else(server, channel):
    body = json.dumps({"signature_name": "slow", "inputs": 3.0}).encode()
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        slow = [_predict(channel, "slow", seconds=(3.0,)) for _ in range(3)]
        slow += [
            pool.submit(exchange, server.rest_port, post("/v1/models/m:predict", body))
            for _ in range(3)
        ]
        assert _health(channel)
        status = get_model_status_pb2.GetModelStatusRequest()
        status.model_spec.name = "m"
        models = model_service_pb2_grpc.ModelServiceStub(channel)
        assert models.GetModelStatus(status, timeout=TIMEOUT).model_version_status
        metadata = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        metadata.model_spec.name = "m"
        predictions = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        assert predictions.GetModelMetadata(metadata, timeout=TIMEOUT).metadata
        for path in ("/v1/models/m", "/v1/models/m/metadata", METRICS, "/healthz"):
            request = f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
            assert exchange(server.rest_port, request)[0] == 200
        assert not any(call.done() for call in slow)
        for call in slow:
            call.cancel()


def test_reloads_that_wait_hold_up_nobody(server, channel, arithmetic, tmp_path):
    missing = ("n", tmp_path / "missing")
    calls = [_reload(channel, ("m", arithmetic), missing) for _ in range(MAX_RELOADS)]
    refusals = []
    with contextlib.ExitStack() as stack:
        for call in calls:
            stack.callback(call.cancel)

        def refused():
            call = _reload(channel, ("m", arithmetic), missing)
            stack.callback(call.cancel)
            try:
                refusals.append(call.exception(timeout=0.2))
            except grpc.FutureTimeoutError:
                calls.append(call)  # it was before one of the others
            return refusals

        wait_until(refused)
        wait_until(lambda: sum(not call.done() for call in calls) == MAX_RELOADS)
        waiting = [call for call in calls if not call.done()]
        error = refusals[0]
        assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert error.details() == (
            f"{MAX_RELOADS} reloads are waiting for their models already. Try again later."
        )
        assert _predict(channel, x=(1.0, 1)).result().outputs["y"].float_val[0] == 3.5
        assert _health(channel)
        assert not any(call.done() for call in waiting)
        # Callers that leave make room, and a list without the model ends the wait of the others.
        for call in waiting[:8]:
            call.cancel()

        def accepted():
            error = _reload(channel, ("m", arithmetic)).exception(timeout=TIMEOUT)
            return error is None

        wait_until(accepted)
        codes = {call.exception(timeout=TIMEOUT).code() for call in waiting[8:]}
        assert codes == {grpc.StatusCode.ABORTED}


def test_a_reload_ends_with_its_deadline(channel, arithmetic, tmp_path):
    models = (("m", arithmetic), ("n", tmp_path / "missing"))
    for _ in range(2):
        calls = [_reload(channel, *models, timeout=0.2) for _ in range(MAX_RELOADS)]
        codes = {call.exception(timeout=TIMEOUT).code() for call in calls}
        assert grpc.StatusCode.DEADLINE_EXCEEDED in codes
    # All threads are free again.
    wait_until(lambda: _reload(channel, models[0]).exception(timeout=TIMEOUT) is None)
