"""What the tests of changing versions, labels and lists of models need: a client, and words."""

import shutil
from pathlib import Path

import grpc
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorflow_serving.apis import (
    get_model_status_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from serving.model_server.server import ModelServer
from serving.warmup import write_warmup

STATES = {10: "START", 20: "LOADING", 30: "AVAILABLE", 40: "UNLOADING", 50: "END"}
ALL = "model_version_policy { all {} }"


class Client:
    """The stubs of both services, with short forms of their calls."""

    def __init__(self, server: ModelServer):
        self.server = server
        self._channel = grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}")
        self.predictions = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        self.models = model_service_pb2_grpc.ModelServiceStub(self._channel)

    def predict(self, name="m", version=None, label=None):
        """(version that answered, the offset that it added)."""
        request = predict_pb2.PredictRequest()
        request.model_spec.name = name
        if version is not None:
            request.model_spec.version.value = version
        if label is not None:
            request.model_spec.version_label = label
        request.inputs["x"].CopyFrom(tf.make_tensor_proto([2.0]))
        response = self.predictions.Predict(request, timeout=30)
        return response.model_spec.version.value, response.outputs["y"].float_val[0] - 2

    def slow(self, seconds, name="m"):
        """A future; the request holds its version for so long."""
        request = predict_pb2.PredictRequest()
        request.model_spec.name = name
        request.model_spec.signature_name = "slow"
        request.inputs["seconds"].CopyFrom(tf.make_tensor_proto(float(seconds)))
        return self.predictions.Predict.future(request, timeout=30)

    def states(self, name="m"):
        """[(version, state)]; [] for a model that is not known."""
        return [(item.version, STATES[item.state]) for item in self.statuses(name)]

    def statuses(self, name="m"):
        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = name
        try:
            return list(self.models.GetModelStatus(request, timeout=30).model_version_status)
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.NOT_FOUND
            return []

    def reload(self, text, timeout=30, metrics=()):
        request = model_management_pb2.ReloadConfigRequest(metric_names=metrics)
        text_format.Parse(text, request.config)
        return self.models.HandleReloadConfigRequest(request, timeout=timeout)

    def refused(self, call, *arguments, **options):
        """(code, text) with which a call is refused."""
        with pytest.raises(grpc.RpcError) as caught:
            call(*arguments, **options)
        return caught.value.code().name, caught.value.details()

    def close(self):
        self._channel.close()


def push(arithmetic, base, version, number=None):
    """A version appears at once, as every version should."""
    staged = base.parent / f"staged-{version}"
    shutil.copytree(arithmetic / str(version), staged)
    staged.rename(base / str(number or version))


def model_list(*models):
    return "model_config_list {" + "".join(f"config {{ {model} }}" for model in models) + "}"


def model(base, rest="", name="m"):
    return f'name: "{name}" base_path: "{base}" model_platform: "tensorflow" {rest}'


def slow_to_load(folder: Path, seconds: float) -> None:
    """A warm-up record that takes so long."""
    write_warmup(folder, [("slow", {"seconds": np.float32(seconds)})], "m")
