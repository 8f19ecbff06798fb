import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf

from serving import tensors, wire
from serving.errors import ServingError

DTYPES = [
    np.float32, np.float64, np.float16, ml_dtypes.bfloat16, np.int8, np.int16, np.int32, np.int64,
    np.uint8, np.uint16, np.uint32, np.uint64, np.bool_, np.complex64, np.complex128,
]  # fmt: skip


@pytest.mark.parametrize("typed_fields", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (0, 3), (2, 3)])
def test_arrays_come_back_and_tensorflow_reads_the_same(dtype, shape, typed_fields):
    array = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)
    proto = tf.make_tensor_proto(0.0).__class__()
    tensors.encode(array, proto, typed_fields=typed_fields)
    np.testing.assert_array_equal(tf.make_ndarray(proto), array)
    ours = tensors.decode(wire.TensorProto.FromString(proto.SerializeToString()))
    assert ours.dtype == array.dtype
    np.testing.assert_array_equal(ours, array)


def test_strings_keep_trailing_zero_bytes_and_unicode():
    proto = wire.TensorProto()
    tensors.encode(tensors.as_array([["猫", b"a\x00"], [b"", "b"]]), proto, typed_fields=False)
    decoded = tensors.decode(proto)
    assert decoded.tolist() == [["猫".encode(), b"a\x00"], [b"", b"b"]]


def test_missing_values_repeat_the_last_one():
    proto = tf.make_tensor_proto(7.0, shape=[2, 2])
    assert len(proto.float_val) == 1
    np.testing.assert_array_equal(tensors.decode(proto), np.full((2, 2), 7.0))


def test_python_floats_become_float32_and_arrays_keep_their_type():
    assert tensors.as_array([0.5]).dtype == np.float32
    assert tensors.as_array(np.array([0.5])).dtype == np.float64
    assert tensors.as_array([1]).dtype == np.int64


def test_content_that_does_not_fit_the_shape():
    proto = wire.TensorProto(dtype=1, tensor_content=b"\x00" * 8)
    proto.tensor_shape.dim.add().size = 3
    with pytest.raises(ServingError, match=r"8 bytes, which do not fit shape \[3\] of float32"):
        tensors.decode(proto)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([[1.0], [1.0, 2.0]], "differ in length"),
        ([b"a", 3], "str or bytes. Received: int at item 1"),
        (np.array(["2020-01-01"], "datetime64[D]"), "No tensor type .* datetime64"),
    ],
)
def test_values_that_are_no_tensor(values, text):
    with pytest.raises(ServingError, match=text):
        tensors.encode(tensors.as_array(values), wire.TensorProto(), typed_fields=False)
