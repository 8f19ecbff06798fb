"""NumPy arrays to and from TensorProto, for any class that has TensorProto's fields.

Written against numpy alone, so that the client shares it with the server: it takes the message to
fill, and never imports TensorFlow. Strings are arrays of `bytes` objects (dtype object): NumPy's
own fixed-width bytes would lose trailing zero bytes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from serving.errors import ServingError

DT_STRING = 7
_DT_HALF = 19
_DT_BFLOAT16 = 14
_COMPLEX = {8: ("scomplex_val", np.float32), 18: ("dcomplex_val", np.float64)}

# DataType number -> (numpy dtype, name of the typed field). tensorflow/core/framework/types.proto.
_TYPES: dict[int, tuple[np.dtype, str]] = {
    1: (np.dtype(np.float32), "float_val"),
    2: (np.dtype(np.float64), "double_val"),
    3: (np.dtype(np.int32), "int_val"),
    4: (np.dtype(np.uint8), "int_val"),
    5: (np.dtype(np.int16), "int_val"),
    6: (np.dtype(np.int8), "int_val"),
    DT_STRING: (np.dtype(object), "string_val"),
    8: (np.dtype(np.complex64), "scomplex_val"),
    9: (np.dtype(np.int64), "int64_val"),
    10: (np.dtype(np.bool_), "bool_val"),
    17: (np.dtype(np.uint16), "int_val"),
    18: (np.dtype(np.complex128), "dcomplex_val"),
    _DT_HALF: (np.dtype(np.float16), "half_val"),
    22: (np.dtype(np.uint32), "uint32_val"),
    23: (np.dtype(np.uint64), "uint64_val"),
}
_NUMBERS = {dtype: number for number, (dtype, _) in _TYPES.items()}


def to_bytes_array(values: Any) -> np.ndarray:
    """Array of `bytes` objects, same shape as `values` (str as UTF-8, bytes as they are)."""
    array = np.asarray(values)
    flat = array.ravel() if array.dtype == object else array.astype(object).ravel()
    result = np.empty(flat.shape, dtype=object)
    for i, value in enumerate(flat):
        if isinstance(value, str):
            result[i] = value.encode("utf-8")
        elif isinstance(value, bytes):
            result[i] = value
        else:
            raise ServingError(
                f"A string tensor takes str or bytes. Received: {type(value).__name__} at item {i}."
            )
    return result.reshape(array.shape)


def as_array(values: Any) -> np.ndarray:
    """`values` as an array that has a TensorProto type; Python floats become float32, as in TF.

    Raises:
        ServingError: ragged lists, or a type no tensor has.
    """
    given_array = isinstance(values, (np.ndarray, np.generic))
    try:
        array = np.asarray(values)
    except UnicodeDecodeError:
        # A list that mixes str and bytes: NumPy tries to read the bytes as ASCII.
        array = np.asarray(values, dtype=object)
    except ValueError as error:
        raise ServingError(f"The rows of an input differ in length: {error}.") from error
    if array.dtype.kind in "OSU":
        # From the values themselves: fixed-width bytes have lost their trailing zeros.
        return to_bytes_array(array if given_array else np.asarray(values, dtype=object))
    if not given_array and array.dtype == np.float64:
        array = array.astype(np.float32)
    return array


def encode(array: np.ndarray, proto: Any, *, typed_fields: bool) -> None:
    """Writes `array` into the TensorProto `proto`.

    Args:
        typed_fields: True for `float_val` and its like (Tensor::AsProtoField), False for the raw
            bytes of `tensor_content` (smaller and faster; strings always use `string_val`).
    """
    number, field = _type_of(array.dtype)
    proto.dtype = number
    # Touching the field marks it as present: a scalar has a shape, of rank 0.
    proto.tensor_shape.SetInParent()
    for size in array.shape:
        proto.tensor_shape.dim.add().size = size
    if number == DT_STRING:
        proto.string_val.extend(to_bytes_array(array).ravel())
    elif not typed_fields:
        proto.tensor_content = array.tobytes()
    elif number in (_DT_HALF, _DT_BFLOAT16):
        proto.half_val.extend(np.ascontiguousarray(array).view(np.uint16).ravel().tolist())
    elif number in _COMPLEX:
        parts = np.ascontiguousarray(array).view(_COMPLEX[number][1])
        getattr(proto, field).extend(parts.ravel().tolist())
    else:
        getattr(proto, field).extend(array.ravel().tolist())


def decode(proto: Any) -> np.ndarray:
    """The array in a TensorProto, written either way.

    As in TensorFlow, typed fields may hold fewer values than the shape: the last one is repeated.

    Raises:
        ServingError: an unknown type, or content that does not fit the shape.
    """
    number = proto.dtype
    if number == _DT_BFLOAT16:
        dtype, field = _bfloat16(), "half_val"
    elif number in _TYPES:
        dtype, field = _TYPES[number]
    else:
        raise ServingError(f"A tensor of DataType {number} cannot be converted to NumPy.")
    shape = tuple(dim.size for dim in proto.tensor_shape.dim)
    if proto.tensor_shape.unknown_rank or any(size < 0 for size in shape):
        raise ServingError(f"A tensor must have a known shape. Received: shape={list(shape)}.")
    size = int(np.prod(shape, dtype=np.int64))
    if proto.tensor_content:
        if number == DT_STRING or len(proto.tensor_content) != size * dtype.itemsize:
            raise ServingError(
                f"tensor_content holds {len(proto.tensor_content)} bytes, which do not fit shape "
                f"{list(shape)} of {dtype}."
            )
        # A copy, because an array over `bytes` is read-only.
        return np.frombuffer(proto.tensor_content, dtype=dtype).reshape(shape).copy()
    return _fill(_typed_values(getattr(proto, field), number, dtype), size, number).reshape(shape)


def _typed_values(field: Any, number: int, dtype: np.dtype) -> np.ndarray:
    if number in (_DT_HALF, _DT_BFLOAT16):
        return np.array(field, dtype=np.uint16).view(dtype)
    if number in _COMPLEX:
        return np.array(field, dtype=_COMPLEX[number][1]).view(dtype)
    if number == DT_STRING:
        values = np.empty(len(field), dtype=object)
        values[:] = list(field)
        return values
    return np.array(field, dtype=dtype)


def _fill(values: np.ndarray, size: int, number: int) -> np.ndarray:
    if len(values) >= size:
        return values[:size]
    filler = values[-1] if len(values) else (b"" if number == DT_STRING else 0)
    full = np.empty(size, dtype=values.dtype)
    full[: len(values)] = values
    full[len(values) :] = filler
    return full


def _type_of(dtype: np.dtype) -> tuple[int, str]:
    if dtype.kind in "SU":
        return DT_STRING, "string_val"
    number = _NUMBERS.get(dtype.newbyteorder("="))
    if number is not None:
        return number, _TYPES[number][1]
    if dtype.name == "bfloat16":
        return _DT_BFLOAT16, "half_val"
    raise ServingError(f"No tensor type for NumPy arrays of dtype {dtype}.")


def _bfloat16() -> np.dtype:
    try:
        import ml_dtypes
    except ImportError as error:
        raise ServingError(
            "A bfloat16 tensor needs the package ml_dtypes (TensorFlow installs it), or a model "
            "whose signature returns float32."
        ) from error
    return np.dtype(ml_dtypes.bfloat16)
