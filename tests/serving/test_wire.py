"""The client's own messages against the real ones, both loaded in this one process."""

import numpy as np
import pytest
from tensorflow_serving.apis import get_model_status_pb2, predict_pb2

from serving import wire


def _request(kind):
    request = kind()
    request.model_spec.name = "tower"
    request.model_spec.signature_name = "encode_text"
    request.model_spec.version.value = 2**40
    request.output_filter.append("embedding")
    tensor = request.inputs["query"]
    tensor.dtype = 7
    tensor.tensor_shape.dim.add().size = 2
    tensor.string_val.extend([b"\x00\xff", "猫".encode()])
    return request


def test_predict_request_is_byte_for_byte_the_real_one():
    ours, real = _request(wire.PredictRequest), _request(predict_pb2.PredictRequest)
    assert ours.SerializeToString(deterministic=True) == real.SerializeToString(deterministic=True)
    assert predict_pb2.PredictRequest.FromString(ours.SerializeToString()) == real


def test_version_zero_and_label_exclude_each_other():
    request = wire.PredictRequest()
    request.model_spec.version.value = 0
    real = predict_pb2.PredictRequest.FromString(request.SerializeToString())
    assert real.model_spec.WhichOneof("version_choice") == "version"
    request.model_spec.version_label = "stable"
    real = predict_pb2.PredictRequest.FromString(request.SerializeToString())
    assert real.model_spec.WhichOneof("version_choice") == "version_label"
    assert not request.model_spec.HasField("version")


@pytest.mark.parametrize("name", ["TensorProto", "PredictRequest", "PredictResponse"])
def test_fields_have_the_real_numbers_and_types(name):
    """Enumerations are int32 here, which is the same on the wire."""
    from tensorflow.core.framework import tensor_pb2

    real = getattr(predict_pb2 if name.startswith("Predict") else tensor_pb2, name).DESCRIPTOR
    for field in getattr(wire, name).DESCRIPTOR.fields:
        same = real.fields_by_name[field.name]
        assert field.number == same.number
        assert field.is_repeated == same.is_repeated
        assert field.type == same.type or (field.type == 5 and same.type == same.TYPE_ENUM)


def test_response_with_every_typed_field_survives():
    from tensorflow import make_tensor_proto

    response = predict_pb2.PredictResponse()
    for dtype in (np.float32, np.float64, np.int32, np.int64, np.bool_, np.uint32, np.float16):
        proto = make_tensor_proto(np.array([0, 1, 0], dtype), shape=[3, 1])
        response.outputs[np.dtype(dtype).name].CopyFrom(proto)
    ours = wire.PredictResponse.FromString(response.SerializeToString())
    assert predict_pb2.PredictResponse.FromString(ours.SerializeToString()) == response


def test_status_response():
    real = get_model_status_pb2.GetModelStatusResponse()
    item = real.model_version_status.add(version=3, state=30)
    item.status.error_message = "bad"
    item.status.error_code = 5
    ours = wire.GetModelStatusResponse.FromString(real.SerializeToString())
    (status,) = ours.model_version_status
    assert (status.version, status.state) == (3, 30)
    assert (status.status.error_code, status.status.error_message) == (5, "bad")
