"""Bodies to requests and responses to bodies, for types and forms that few models have."""

import base64
import json

import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import predict_pb2

from serving import tensors
from serving.errors import Code, StatusError
from serving.model_server.rest.json_parser import parse_object
from serving.model_server.rest.json_tensor import fill_request, response_text

_DTYPES = {
    "float": tf.float32,
    "double": tf.float64,
    "int32": tf.int32,
    "uint8": tf.uint8,
    "int8": tf.int8,
    "string": tf.string,
    "int64": tf.int64,
    "bool": tf.bool,
    "uint32": tf.uint32,
    "uint64": tf.uint64,
    "half": tf.float16,
    "bfloat16": tf.bfloat16,
    "complex64": tf.complex64,
    "uint16": tf.uint16,
}


def _parse(body, **dtypes):
    """The arrays of a body, for a signature with the given inputs."""
    infos = {
        name: meta_graph_pb2.TensorInfo(dtype=_DTYPES[dtype].as_datatype_enum)
        for name, dtype in dtypes.items()
    }
    request = predict_pb2.PredictRequest()
    document = parse_object(body if isinstance(body, bytes) else body.encode())
    kind = fill_request(document, infos, request)
    return kind, {name: tensors.decode(proto) for name, proto in request.inputs.items()}


def _one(body, dtype):
    _, arrays = _parse(body, x=dtype)
    return arrays["x"]


@pytest.mark.parametrize(
    ("dtype", "values", "expected"),
    [
        ("float", "[1, 2.5, -3, 0.2, NaN, -Infinity]", [1, 2.5, -3, 0.2, np.nan, -np.inf]),
        ("float", "[16777215, 3.4028234663852886e38]", [16777215, 3.4028234663852886e38]),
        ("double", "[1, 0.1, 9007199254740991]", [1, 0.1, 9007199254740991]),
        ("double", "[1.7976931348623157e308]", [1.7976931348623157e308]),
        ("int32", "[-2147483648, 2147483647]", [-(2**31), 2**31 - 1]),
        ("int64", "[-9223372036854775808, 9223372036854775807]", [-(2**63), 2**63 - 1]),
        ("uint32", "[0, 4294967295]", [0, 2**32 - 1]),
        ("uint64", "[0, 18446744073709551615]", np.array([0, 2**64 - 1], np.uint64)),
        ("bool", "[true, false]", [True, False]),
        # Any int32 is taken, and its lowest bits are kept.
        ("uint8", "[255, 256, -1]", [255, 0, 255]),
        ("int8", "[127, 128]", [127, -128]),
    ],
)
def test_numbers_of_each_type(dtype, values, expected):
    for body in (f'{{"instances": {values}}}', f'{{"inputs": {values}}}'):
        array = _one(body, dtype)
        assert array.dtype == _DTYPES[dtype].as_numpy_dtype
        np.testing.assert_array_equal(array, np.array(expected).astype(array.dtype))


@pytest.mark.parametrize(
    ("dtype", "value", "kind"),
    [
        ("float", '"1"', "String"),
        ("float", "null", "Null"),
        ("double", "true", "True"),
        ("int32", "1.0", "Number"),
        ("int32", "2147483648", "Number"),
        ("uint8", "2147483648", "Number"),
        ("int64", "9223372036854775808", "Number"),
        ("int64", "false", "False"),
        ("uint32", "-1", "Number"),
        ("uint32", "4294967296", "Number"),
        ("uint64", "-1", "Number"),
        ("uint64", "18446744073709551616", "Number"),
        ("bool", "1", "Number"),
        ("string", "1", "Number"),
        ("string", "null", "Null"),
        ("int32", '{"b64": "AA=="}', "Object"),
    ],
)
def test_values_that_a_type_does_not_take(dtype, value, kind):
    with pytest.raises(StatusError) as caught:
        _one(f'{{"inputs": [{value}]}}', dtype)
    assert caught.value.code == Code.INVALID_ARGUMENT
    assert caught.value.message.endswith(f" Type: {kind} is not of expected type: {dtype}")


@pytest.mark.parametrize(
    ("dtype", "value", "text"),
    [
        ("float", "16777217", "16777217 to float"),
        ("float", "-16777217", "-16777217 to float"),
        ("float", "1e39", "1e+39 to float"),
        ("double", "9007199254740993", "9007199254740993 to double"),
    ],
)
def test_values_that_lose_precision(dtype, value, text):
    with pytest.raises(StatusError) as caught:
        _one(f'{{"inputs": [0, {value}]}}', dtype)
    assert caught.value.message == f"Cannot convert JSON value: {text} without loss of precision."


@pytest.mark.parametrize("dtype", ["half", "bfloat16", "complex64", "uint16"])
def test_types_that_json_cannot_express(dtype):
    with pytest.raises(StatusError) as caught:
        _one('{"inputs": [0.5]}', dtype)
    assert caught.value.text == f"UNIMPLEMENTED: Conversion of JSON Value: 0.5 to type: {dtype}"


@pytest.mark.parametrize(
    ("value", "data"),
    [
        ('"a猫\\u0000"', "a猫\0".encode()),
        ('"\\ud83d\\ude00"', "😀".encode()),
        ('{"b64": "AP8="}', b"\x00\xff"),
        ('{"b64": "AP8"}', b"\x00\xff"),
        ('{"b64": "AP8."}', b"\x00\xff"),
        ('{"b64": " A P\\n8 "}', b"\x00\xff"),
        ('{"b64": ""}', b""),
        ('{"b64": "+/+/"}', b"\xfb\xff\xbf"),
    ],
)
def test_strings(value, data):
    assert _one(f'{{"instances": [{value}]}}', "string").tolist() == [data]
    assert _one(f'{{"inputs": {value}}}', "string")[()] == data


def test_bytes_that_are_no_utf8():
    assert _one(b'{"inputs": ["\xff\xfe"]}', "string").tolist() == [b"\xff\xfe"]


@pytest.mark.parametrize("text", ["_-", "A", "AP8==", "AP8=A", "AA=A", "é"])
def test_broken_base64(text):
    with pytest.raises(StatusError, match=r"^Unable to base64 decode$"):
        _one(json.dumps({"inputs": [{"b64": text}]}), "string")


@pytest.mark.parametrize(
    "value", ['{"b64": 1}', '{"b64": "AA", "c": 1}', '{"b64": "A", "b64": "B"}']
)
def test_objects_that_are_no_base64(value):
    with pytest.raises(StatusError, match=r"not formatted correctly for base64 data$"):
        _one(f'{{"inputs": [{value}]}}', "string")


@pytest.mark.parametrize(
    ("values", "shape"),
    [
        ("[[1, 2], [3, 4], [5, 6]]", (3, 2)),
        ("[[[1]], [[2]]]", (2, 1, 1)),
        ("[[], []]", (2, 0)),
        ("[[[], []]]", (1, 2, 0)),
        ("[1]", (1,)),
    ],
)
def test_shapes(values, shape):
    assert _one(f'{{"instances": {values}}}', "int32").shape == shape
    assert _one(f'{{"inputs": {values}}}', "int32").shape == shape


def test_a_scalar():
    assert _one('{"inputs": 5}', "int32").shape == ()


def test_named_columns_of_several_types():
    kind, arrays = _parse(
        '{"instances": [{"i": [1, 2], "s": "a", "b": {"b64": "AP8="}},'
        ' {"b": {"b64": "AA=="}, "s": "c", "i": [3, 4]}]}',
        i="int64",
        s="string",
        b="string",
    )
    assert kind == "instances"
    assert {name: array.tolist() for name, array in arrays.items()} == {
        "i": [[1, 2], [3, 4]],
        "s": [b"a", b"c"],
        "b": [b"\x00\xff", b"\x00"],
    }


def test_inputs_may_be_an_object_with_bytes_and_lists():
    kind, arrays = _parse(
        '{"inputs": {"i": [[1], [2]], "b": {"b64": "AA=="}}}', i="int32", b="string"
    )
    assert kind == "inputs"
    assert arrays["i"].tolist() == [[1], [2]]
    assert arrays["b"][()] == b"\x00"


def test_more_dimensions_than_an_array_has():
    body = '{"inputs": ' + "[" * 500 + "1" + "]" * 500 + "}"
    with pytest.raises(StatusError, match=r"^tensor parsing error: x$"):
        _one(body, "int32")


def test_deep_lists_of_the_wrong_type():
    body = '{"inputs": ' + "[" * 500 + '"a"' + "]" * 500 + "}"
    with pytest.raises(StatusError) as caught:
        _one(body, "int32")
    assert caught.value.message == 'JSON Value: "a" Type: String is not of expected type: int32'


def _outputs(**arrays):
    response = predict_pb2.PredictResponse()
    for name, array in arrays.items():
        tensors.encode(np.asarray(array), response.outputs[name], typed_fields=True)
    return response.outputs


def _answer(request_format, **arrays):
    return json.loads(response_text(_outputs(**arrays), request_format))


@pytest.mark.parametrize(
    "array",
    [
        np.array([[1, 2], [3, 4]], np.int32),
        np.float32([[0.5], [1e20]]),
        np.float32([0.2, np.nan, np.inf, -np.inf]),
        np.float64([1 / 3, 3]),
        np.float16([0.1, 65504]),
        np.uint64([2**64 - 1]),
        np.array([True, False]),
        np.zeros((2, 0), np.float32),
    ],
)
@pytest.mark.parametrize(
    ("request_format", "key"), [("instances", "predictions"), ("inputs", "outputs")]
)
def test_rows_and_columns(array, request_format, key):
    values = _answer(request_format, y=array)[key]
    np.testing.assert_array_equal(np.array(values, array.dtype), array)
    kinds = {type(value) for value in np.array(values, object).ravel().tolist()}
    assert kinds == {type(value) for value in array.ravel().tolist()}


def test_float32_is_not_widened():
    assert response_text(_outputs(y=np.float32([0.2])), "inputs") == '{"outputs":[0.2]}'


def test_strings_in_rows_and_columns():
    array = np.array([[b"a\n\x1f"], ["猫".encode()]], object)
    values = [["a\n\x1f"], ["猫"]]
    assert _answer("instances", y=array) == {"predictions": values}
    assert _answer("inputs", y=array) == {"outputs": values}
    text = response_text(_outputs(y=np.array([b"\xff"], object)), "inputs")
    assert text.encode("utf-8", "surrogateescape") == b'{"outputs": ["\xff"]}'


@pytest.mark.parametrize("dtype", [np.float32, np.complex64, ml_dtypes.bfloat16, object])
def test_no_rows(dtype):
    """A type that cannot be shown does not matter while there is nothing to show."""
    answer = _answer("instances", a=np.zeros((0, 2), dtype), b=np.zeros(0, dtype))
    assert answer == {"predictions": []}


def test_bytes_in_rows_and_columns():
    array = np.array([b"\x00\xff", b""], object)
    values = [{"b64": base64.b64encode(b"\x00\xff").decode()}, {"b64": ""}]
    assert _answer("instances", y_bytes=array) == {"predictions": values}
    assert _answer("inputs", y_bytes=array) == {"outputs": values}


def test_rows_of_several_outputs():
    answer = _answer(
        "instances",
        b_bytes=np.array([[b"a"]], object),
        f=np.float32([[1, 2]]),
        h=np.float16([0.5]),
        i=np.int64([7]),
    )
    row = {"b_bytes": [{"b64": "YQ=="}], "f": [1.0, 2.0], "h": 0.5, "i": 7}
    assert answer == {"predictions": [row]}


def test_columns_of_several_outputs():
    answer = _answer("inputs", f=np.float32([[1], [2]]), i=np.int64(7), e=np.zeros((0, 3)))
    assert answer == {"outputs": {"e": [], "f": [[1.0], [2.0]], "i": 7}}


def test_a_scalar_column():
    assert _answer("inputs", y=np.float32(0.2)) == {"outputs": 0.2}
    assert _answer("inputs", y=np.array(b"a", object)) == {"outputs": "a"}


@pytest.mark.parametrize(
    ("arrays", "text"),
    [
        ({}, "Cannot convert empty tensor map to JSON"),
        ({"y": np.float32(1)}, "Tensor name: y has no shape information "),
        (
            {"a": np.zeros(2), "b": np.zeros(3)},
            "Tensor name: b has inconsistent batch size: 3 expecting: 2",
        ),
        (
            {"a": np.zeros(0), "b": np.zeros(1)},
            "Tensor name: b has inconsistent batch size: 1 expecting: 0",
        ),
        (
            {"y": np.zeros(1, np.complex64)},
            "Failed to write JSON value for tensor type: complex64",
        ),
        (
            {"y": np.zeros(1, ml_dtypes.bfloat16)},
            "Failed to write JSON value for tensor type: bfloat16",
        ),
        ({"y": np.zeros(1, np.uint16)}, "Failed to write JSON value for tensor type: uint16"),
    ],
)
def test_refused_outputs(arrays, text):
    with pytest.raises(StatusError) as caught:
        response_text(_outputs(**arrays), "instances")
    assert caught.value.text == f"INVALID_ARGUMENT: {text}"
