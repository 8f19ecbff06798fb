"""Clients of others against this server: ovmsclient, and the stubs of tensorflow-serving-api.

ovmsclient names a version in every request, and 0 unless told otherwise. OpenVINO's server takes 0
for the newest; TensorFlow Serving for the version 0, and so does this one.
"""

import grpc
import numpy as np
import ovmsclient
import pytest
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from tests.serving.models import sleep

TIMEOUT = 60.0


@pytest.fixture(scope="module")
def ports(arithmetic):
    """gRPC and REST ports of a server of `arithmetic`, of which it serves version 2."""
    from serving.model_server.server import ModelServer, ServerOptions

    options = ServerOptions(
        port=None,
        rest_api_port=None,
        model_name="arithmetic",
        model_base_path=str(arithmetic),
        max_num_load_retries=0,
    )
    with ModelServer(options) as server:
        yield {"grpc": server.grpc_port, "http": server.rest_port}


@pytest.fixture(params=["grpc", "http"])
def ovms(request, ports):
    """ovmsclient over gRPC and over REST."""
    make = {"grpc": ovmsclient.make_grpc_client, "http": ovmsclient.make_http_client}
    return make[request.param](f"127.0.0.1:{ports[request.param]}")


@pytest.fixture(scope="module")
def channel(ports):
    with grpc.insecure_channel(f"127.0.0.1:{ports['grpc']}") as channel:
        yield channel


@pytest.mark.parametrize(
    "x",
    [[1.0, 2.0, 5.0], np.array([1, 2, 5], np.float32)],
    ids=["list", "array"],
)
def test_ovmsclient_predict(ovms, x):
    y = ovms.predict({"x": x}, "arithmetic", model_version=2, timeout=TIMEOUT)
    assert isinstance(y, np.ndarray)
    np.testing.assert_allclose(y, [3.5, 4.0, 5.5])


def test_ovmsclient_status(ovms):
    (status,) = ovms.get_model_status("arithmetic", model_version=2, timeout=TIMEOUT).values()
    assert status["state"] == "AVAILABLE"
    assert (status["error_code"], status["error_message"]) == (0, "")


def test_ovmsclient_metadata_over_grpc(ports):
    client = ovmsclient.make_grpc_client(f"127.0.0.1:{ports['grpc']}")
    assert client.get_model_metadata("arithmetic", model_version=2, timeout=TIMEOUT) == {
        "model_version": 2,
        "inputs": {"x": {"shape": [-1], "dtype": "DT_FLOAT"}},
        "outputs": {"y": {"shape": [-1], "dtype": "DT_FLOAT"}},
    }


def test_ovmsclient_metadata_over_rest(ports):
    """It looks for names in camel case, which TensorFlow Serving does not write."""
    client = ovmsclient.make_http_client(f"127.0.0.1:{ports['http']}")
    metadata = client.get_model_metadata("arithmetic", model_version=2, timeout=TIMEOUT)
    assert metadata["model_spec"] == {"name": "arithmetic", "signature_name": "", "version": "2"}
    default = metadata["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert default["inputs"]["x"]["dtype"] == "DT_FLOAT"


def test_ovmsclient_errors(ovms):
    with pytest.raises(ovmsclient.ModelNotFoundError) as caught:
        ovms.predict({"x": [1.0]}, "nothing", model_version=1, timeout=TIMEOUT)
    assert "Servable not found for request: Specific(nothing, 1)" in str(caught.value)
    with pytest.raises(ovmsclient.InvalidInputError):
        ovms.predict({"wrong": [1.0]}, "arithmetic", model_version=2, timeout=TIMEOUT)


def test_ovmsclient_without_a_version(ovms):
    with pytest.raises(ovmsclient.ModelNotFoundError, match=r"Specific\(arithmetic, 0\)"):
        ovms.predict({"x": [1.0]}, "arithmetic", timeout=TIMEOUT)


def test_ovmsclient_deadline(ports, tmp_path):
    """Served under a name of its own, because ovmsclient knows no signature but the default."""

    class Slow(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "seconds")])
        def wait(self, seconds):
            return {"end": sleep(seconds[0])}

    from serving.model_server.server import ModelServer, ServerOptions

    slow = Slow()
    tf.saved_model.save(slow, str(tmp_path / "slow" / "1"), slow.wait)
    options = ServerOptions(
        port=None,
        rest_api_port=0,
        model_name="slow",
        model_base_path=str(tmp_path / "slow"),
    )
    with ModelServer(options) as server:
        client = ovmsclient.make_grpc_client(f"127.0.0.1:{server.grpc_port}")
        with pytest.raises(TimeoutError, match="Request handling exceeded timeout"):
            client.predict({"seconds": [1.0]}, "slow", model_version=1, timeout=0.2)


def test_stubs_predict(channel):
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "arithmetic"
    request.inputs["x"].CopyFrom(tf.make_tensor_proto([1.0, 2.0, 5.0]))
    response = stub.Predict(request, TIMEOUT)
    # As callers do who know that TensorFlow Serving fills the typed fields.
    assert list(response.outputs["y"].float_val) == [3.5, 4.0, 5.5]
    assert response.model_spec.version.value == 2
    assert response.model_spec.signature_name == "serving_default"


def test_stubs_predict_future_and_strings(channel):
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "arithmetic"
    request.model_spec.signature_name = "text"
    request.inputs["s"].CopyFrom(tf.make_tensor_proto([b"abc", b"\xff\x00"]))
    response = stub.Predict.future(request, TIMEOUT).result()
    assert tf.make_ndarray(response.outputs["raw_bytes"]).tolist() == [b"abc", b"\xff\x00"]
    assert response.outputs["upper"].string_val[0] == b"ABC"


def test_stubs_metadata(channel):
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "arithmetic"
    response = stub.GetModelMetadata(request, TIMEOUT)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(signatures)
    assert signatures.signature_def["pair"].inputs.keys() == {"a", "b"}


def test_stubs_status(channel):
    stub = model_service_pb2_grpc.ModelServiceStub(channel)
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "arithmetic"
    (status,) = stub.GetModelStatus(request, TIMEOUT).model_version_status
    assert status.version == 2
    assert status.state == get_model_status_pb2.ModelVersionStatus.AVAILABLE
