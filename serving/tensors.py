"""NumPy arrays to and from TensorProto, for any class that has TensorProto's fields.

Written against numpy alone, so that the client shares it with the server: it takes the message to
fill, and never imports TensorFlow. Strings are arrays of `bytes` objects (dtype object): NumPy's
own fixed-width bytes would lose trailing zero bytes.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from serving.errors import ServingError

DT_STRING = 7
_DT_HALF = 19
_DT_BFLOAT16 = 14
# NumPy's; TensorFlow stops at 254.
MAX_RANK = 64
# Bytes that repeating the last value may add to a tensor: a shape is cheap to claim.
MAX_REPEATED_BYTES = 256 << 20
# DataType number -> (field number, element) of the typed fields whose packed bytes are those of the
# array (little-endian, as the machines that TensorFlow runs on).
_PACKED: dict[int, tuple[int, np.dtype]] = {
    1: (5, np.dtype(np.float32)),
    2: (6, np.dtype(np.float64)),
    8: (9, np.dtype(np.float32)),
    10: (11, np.dtype(np.bool_)),
    18: (12, np.dtype(np.float64)),
}

# DataType number -> (numpy dtype, name of the typed field). tensorflow/core/framework/types.proto.
TYPES: dict[int, tuple[np.dtype, str]] = {
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
_NUMBERS = {dtype: number for number, (dtype, _) in TYPES.items()}


def dtype_name(number: int) -> str:
    """Name of a DataType: NumPy's, or `string`; `DataType N` for one that NumPy has not."""
    if number == DT_STRING:
        return "string"
    if number == _DT_BFLOAT16:
        return "bfloat16"
    return TYPES[number][0].name if number in TYPES else f"DataType {number}"


def to_bytes_array(values: Any) -> np.ndarray:
    """Array of `bytes` objects, same shape as `values` (str as UTF-8, bytes as they are).

    Raises:
        ServingError: a value that is neither, or a str that is not valid Unicode.
    """
    array = np.asarray(values)
    flat = array.ravel() if array.dtype == object else array.astype(object).ravel()
    result = np.empty(flat.shape, dtype=object)
    for i, value in enumerate(flat):
        if isinstance(value, str):
            try:
                result[i] = value.encode("utf-8")
            except UnicodeEncodeError:
                raise ServingError(f"A str is not valid UTF-8: item {i}.") from None
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
    """Write `array` into the empty TensorProto `proto`.

    Args:
        array: of any shape; dtype object holds str or bytes.
        proto: an empty TensorProto.
        typed_fields: True for `float_val` and its like (Tensor::AsProtoField), False for the raw
            bytes of `tensor_content` (smaller and faster; strings always use `string_val`).

    Raises:
        ServingError: a dtype that no tensor has, or an object that is neither str nor bytes.
    """
    number, field = _type_of(array.dtype)
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    header = _header(number, array.shape)
    if number == DT_STRING:
        proto.MergeFromString(header)
        proto.string_val.extend(_bytes_list(array))
    elif not typed_fields:
        proto.MergeFromString(header)
        proto.tensor_content = array.tobytes()
    elif number in _PACKED:
        # The message's own bytes: `extend` would make a Python object of every value.
        proto.MergeFromString(header + _packed_prefix(number, array.nbytes) + array.tobytes())
    else:
        if number in (_DT_HALF, _DT_BFLOAT16):
            array = np.ascontiguousarray(array).view(np.uint16)
        proto.MergeFromString(header)
        getattr(proto, field).extend(array.ravel().tolist())


def decode(proto: Any) -> np.ndarray:
    """Return the array in a TensorProto, written either way.

    As in TensorFlow, typed fields may hold fewer values than the shape: the last one is repeated
    (zero if there is none), here up to MAX_REPEATED_BYTES beyond what was sent; surplus values are
    dropped, and integers wider than the type are cut to its bits.

    Raises:
        ServingError: an unknown type, a shape that is unknown or that no array can have, content
            that does not fit the shape, or more repetition than the limit.
    """
    number = proto.dtype
    if number == _DT_BFLOAT16:
        dtype, field = _bfloat16(), "half_val"
    elif number in TYPES:
        dtype, field = TYPES[number]
    else:
        raise ServingError(f"A tensor of DataType {number} cannot be converted to NumPy.")
    shape = tuple([dim.size for dim in proto.tensor_shape.dim])
    if proto.tensor_shape.unknown_rank or (shape and min(shape) < 0):
        raise ServingError(f"A tensor must have a known shape. Received: shape={list(shape)}.")
    if len(shape) > MAX_RANK:
        raise ServingError(f"No array has {len(shape)} dimensions; {MAX_RANK} is NumPy's limit.")
    # Python's integers: a product that wraps around could match what was sent.
    size = math.prod(shape)
    content = proto.tensor_content
    if content:
        if number == DT_STRING or len(content) != size * dtype.itemsize:
            raise ServingError(
                f"tensor_content holds {len(content)} bytes, which do not fit shape "
                f"{list(shape)} of {dtype}."
            )
        # A copy, because an array over `bytes` is read-only.
        values = np.frombuffer(content, dtype=dtype).copy()
    else:
        values = _fill(_typed_values(proto, number, dtype, field, shape), size, shape)
    try:
        return values.reshape(shape)
    except ValueError as error:
        raise ServingError(f"No array has the shape {list(shape)}: {error}.") from error


def _typed_values(
    proto: Any, number: int, dtype: np.dtype, field: str, shape: tuple[int, ...]
) -> np.ndarray:
    sent = getattr(proto, field)
    if number in _PACKED:
        return _packed_values(proto, sent, number, dtype, shape)
    if number == DT_STRING:
        values = np.empty(len(sent), dtype=object)
        values[:] = list(sent)
        return values
    if number in (_DT_HALF, _DT_BFLOAT16):
        return np.array(sent, dtype=np.int32).astype(np.uint16).view(dtype)
    if field == "int_val":
        return np.array(sent, dtype=np.int32).astype(dtype)
    return np.array(sent, dtype=dtype)


def _packed_values(
    proto: Any, sent: Any, number: int, dtype: np.dtype, shape: tuple[int, ...]
) -> np.ndarray:
    """Values that lie in the message's bytes as they do in memory, without a Python object each."""
    element = _PACKED[number][1]
    data = proto.SerializeToString()
    prefix = _header(number, shape) + _packed_prefix(number, len(sent) * element.itemsize)
    if data.startswith(prefix):
        values = np.frombuffer(data, element, len(sent), len(prefix)).copy()
    else:
        # Named dimensions, a version number, or fields in another order.
        values = np.array(sent, dtype=element)
    # The parts of a complex number alternate; an odd one has no other half.
    return values if element == dtype else values[: len(values) // 2 * 2].view(dtype)


def _fill(values: np.ndarray, size: int, shape: tuple[int, ...]) -> np.ndarray:
    if len(values) >= size:
        return values[:size]
    if (size - len(values)) * values.itemsize > MAX_REPEATED_BYTES:
        raise ServingError(
            f"A tensor of shape {list(shape)} has {size} values, but {len(values)} were sent. The "
            f"last one is repeated for at most {MAX_REPEATED_BYTES >> 20} MiB: send the others too."
        )
    filler = values[-1] if len(values) else (b"" if values.dtype == object else 0)
    full = np.empty(size, dtype=values.dtype)
    full[: len(values)] = values
    full[len(values) :] = filler
    return full


def _bytes_list(array: np.ndarray) -> list[bytes]:
    if array.dtype == object:
        flat = array.ravel().tolist()
        if all(type(value) is bytes for value in flat):
            return flat
    return to_bytes_array(array).ravel().tolist()


@functools.lru_cache(maxsize=4096)
def _header(number: int, shape: tuple[int, ...]) -> bytes:
    """Return the fields `dtype` and `tensor_shape` of a serialised TensorProto."""
    dims = b""
    for size in shape:
        # proto3 does not write a zero. Dim.size is field 1, TensorShapeProto.dim field 2.
        dim = b"\x08" + _varint(size) if size else b""
        dims += b"\x12" + _varint(len(dim)) + dim
    return b"\x08" + _varint(number) + b"\x12" + _varint(len(dims)) + dims


@functools.lru_cache(maxsize=4096)
def _packed_prefix(number: int, length: int) -> bytes:
    """Tag and length that stand before the values of a packed field; an empty one is not there."""
    return bytes([_PACKED[number][0] << 3 | 2]) + _varint(length) if length else b""


def _varint(value: int) -> bytes:
    """Base-128 digits, lowest first, all but the last with the top bit set."""
    digits = bytearray()
    while value >= 0x80:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    digits.append(value)
    return bytes(digits)


def _type_of(dtype: np.dtype) -> tuple[int, str]:
    if dtype.kind in "SU":
        return DT_STRING, "string_val"
    number = _NUMBERS.get(dtype)
    if number is None:
        number = _NUMBERS.get(dtype.newbyteorder("="))
    if number is not None:
        return number, TYPES[number][1]
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
