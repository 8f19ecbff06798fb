"""JSON values to the elements of tensors: the type rules and texts of json_tensor.cc."""

from __future__ import annotations

import binascii
import itertools
from typing import Any

import numpy as np
from tensorflow.core.framework import types_pb2

from serving import tensors
from serving.errors import Code, StatusError, invalid
from serving.model_server.rest.json_parser import format_error
from serving.model_server.rest.json_writer import echo

DT_FLOAT, DT_BOOL = 1, 10
_INT32 = (-(2**31), 2**31 - 1)
# DataType -> range of JSON integers that it takes; what is smaller than 32 bits is cut to size.
_INTEGERS = {
    **dict.fromkeys((3, 4, 5, 6), _INT32),
    9: (-(2**63), 2**63 - 1),
    22: (0, 2**32 - 1),
    23: (0, 2**64 - 1),
}
# DataType -> (name, largest integer that it holds exactly, largest value).
_DECIMALS = {
    DT_FLOAT: ("float", 2**24 - 1, float(np.finfo(np.float32).max)),
    2: ("double", 2**53 - 1, float(np.finfo(np.float64).max)),
}
# DataTypes that JSON can express; half can be written, but not read.
READABLE = frozenset((DT_FLOAT, 2, 3, 4, 5, 6, tensors.DT_STRING, 9, DT_BOOL, 22, 23))
_KINDS: dict[type, str] = {dict: "Object", list: "Array", str: "String", type(None): "Null"}
_WHITE_SPACE = b" \t\n\v\f\r"
# Characters of base64 beyond a multiple of four -> how much padding belongs to them.
_PADDING = {0: 0, 2: 2, 3: 1}


def type_name(dtype: int) -> str:
    """Return what TensorFlow's DataTypeString calls a DataType: `float`, `half`, `int32`."""
    return types_pb2.DataType.Name(dtype).removeprefix("DT_").lower()  # type: ignore[arg-type]


def to_array(value: Any, dtype: int) -> np.ndarray | None:
    """Nested lists of one shape, all of whose elements are of one JSON type that `dtype` takes.

    Returns:
        None for anything else, which may be wrong or only unusual: it has to be looked at closely.
    """
    shape, items = [], [value]
    while set(map(type, items)) == {list}:
        sizes = set(map(len, items))
        if len(sizes) > 1:
            return None
        shape.append(sizes.pop())
        items = list(itertools.chain.from_iterable(items))
    if dtype not in READABLE or not _are_of_type(items, dtype):
        return None
    if len(shape) > tensors.MAX_RANK:
        return None
    return elements_array(items, dtype).reshape(shape)


def elements_array(items: list[Any], dtype: int) -> np.ndarray:
    """Checked elements (numbers, booleans or strings; bytes stay bytes) as an array of rank 1."""
    if dtype == tensors.DT_STRING:
        array = np.empty(len(items), dtype=object)
        array[:] = [to_bytes(item) if isinstance(item, str) else item for item in items]
        return array
    # Through 64 bits, because an int8 takes any int32 and keeps its lowest bits.
    wide = {DT_FLOAT: np.float64, **dict.fromkeys((4, 5, 6), np.int64)}.get(dtype)
    own, _ = tensors.TYPES[dtype]
    return np.array(items, dtype=wide or own).astype(own)


def to_bytes(text: str) -> bytes:
    """Return the bytes that stood in the body."""
    return text.encode("utf-8", "surrogateescape")


def scalar(value: Any, dtype: int) -> Any:
    """`value` as an element of a tensor.

    Raises:
        StatusError: INVALID_ARGUMENT, `dtype` does not take it; UNIMPLEMENTED, JSON cannot express
            `dtype`.
    """
    if isinstance(value, dict):
        if dtype != tensors.DT_STRING:
            raise _type_error(value, dtype)
        return decode_base64(value)
    if dtype not in READABLE:
        raise StatusError(
            Code.UNIMPLEMENTED,
            f"Conversion of JSON Value: {echo(value)} to type: {type_name(dtype)}",
        )
    if dtype in _DECIMALS and type(value) in (int, float):
        return lossless(value, dtype)
    if dtype == tensors.DT_STRING and isinstance(value, str):
        return to_bytes(value)
    if not _are_of_type([value], dtype):
        raise _type_error(value, dtype)
    return value


def lossless(value: int | float, dtype: int) -> float:
    """Return a number as a float, if `dtype` (float or double) holds it.

    Raises:
        StatusError: INVALID_ARGUMENT, it does not.
    """
    if not _are_lossless([value], {type(value)}, dtype):
        raise invalid(
            f"Cannot convert JSON value: {echo(value)} to {_DECIMALS[dtype][0]} "
            "without loss of precision."
        )
    return float(value)


def decode_base64(value: Any) -> bytes:
    """Return the bytes of `{"b64": "..."}`; padding may be left out, white space is passed over.

    Raises:
        StatusError: INVALID_ARGUMENT, not of that form.
    """
    if not is_base64(value):
        raise format_error(value, "not formatted correctly for base64 data")
    data = to_bytes(value["b64"]).translate(None, _WHITE_SPACE)
    digits = data.rstrip(b"=.")
    padding = _PADDING.get(len(digits) % 4)
    if padding is None or len(data) - len(digits) not in (0, padding):
        raise invalid("Unable to base64 decode")
    try:
        return binascii.a2b_base64(digits + b"=" * padding, strict_mode=True)
    except binascii.Error as error:
        raise invalid("Unable to base64 decode") from error


def is_base64(value: Any) -> bool:
    """Whether `value` stands for bytes: an object with the one member `b64`, a string."""
    return isinstance(value, dict) and len(value.items()) == 1 and isinstance(value.get("b64"), str)


def is_object(value: Any) -> bool:
    """Whether `value` is an object that does not stand for bytes."""
    return isinstance(value, dict) and not is_base64(value)


def kind(value: Any) -> str:
    """`Null`, `False`, `True`, `Object`, `Array`, `String` or `Number`."""
    if isinstance(value, bool):
        return str(value)
    for python_type, name in _KINDS.items():
        if isinstance(value, python_type):
            return name
    return "Number"


def _are_of_type(items: list[Any], dtype: int) -> bool:
    """Whether all `items` are of one JSON type that `dtype` takes, and not too large."""
    types = set(map(type, items))
    if not types:
        return True
    if dtype in _DECIMALS:
        return types <= {int, float} and _are_lossless(items, types, dtype)
    if dtype in _INTEGERS:
        low, high = _INTEGERS[dtype]
        return types == {int} and low <= min(items) and max(items) <= high
    return types == ({bool} if dtype == DT_BOOL else {str})


def _are_lossless(items: list[Any], types: set[type], dtype: int) -> bool:
    _, largest_integer, largest = _DECIMALS[dtype]
    integers = [item for item in items if type(item) is int] if int in types else []
    if integers and max(max(integers), -min(integers)) > largest_integer:
        return False
    if dtype != DT_FLOAT or float not in types:
        return True
    sizes = np.abs(np.array(items, dtype=np.float64))
    return bool(((sizes <= largest) | ~np.isfinite(sizes)).all())


def _type_error(value: Any, dtype: int) -> StatusError:
    return format_error(value, f"Type: {kind(value)} is not of expected type: {type_name(dtype)}")
