import gc

import grpc
import pytest
from tensorflow_serving.apis import get_model_status_pb2, model_service_pb2_grpc

from tests.serving.waiting import wait_until

METHODS = [
    "tensorflow.serving.PredictionService/Predict",
    "tensorflow.serving.PredictionService/GetModelMetadata",
    "tensorflow.serving.ModelService/HandleReloadConfigRequest",
    "tensorflow.ProfilerService/Profile",
]


def _calls():
    """How many calls the servers of this process keep something of."""
    gc.collect()
    return sum(isinstance(item, grpc._server._RPCState) for item in gc.get_objects())


@pytest.mark.parametrize("method", METHODS)
def test_what_cannot_be_parsed_is_refused_and_leaves_nothing_behind(server, method):
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        call = channel.unary_unary(f"/{method}")
        for _ in range(50):
            with pytest.raises(grpc.RpcError) as caught:
                call(b"\xff\xff no message", timeout=30)
            assert caught.value.code() == grpc.StatusCode.INTERNAL
            assert caught.value.details() == "Exception deserializing request!"
        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = "arithmetic"
        status = model_service_pb2_grpc.ModelServiceStub(channel).GetModelStatus
        assert status(request, timeout=30).model_version_status
    wait_until(lambda: _calls() < 10)
