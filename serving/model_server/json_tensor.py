"""REST bodies to tensors and back: the rules and texts of TensorFlow Serving's json_tensor.cc."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from serving import tensors
from serving.errors import Code, StatusError
from serving.model_server.json_parser import echo, format_error
from serving.model_server.json_writer import PrettyWriter, decimal, string

INSTANCES = "instances"
INPUTS = "inputs"
_TYPE_NAMES = {
    1: "float",
    2: "double",
    3: "int32",
    4: "uint8",
    5: "int16",
    6: "int8",
    7: "string",
    8: "complex64",
    9: "int64",
    10: "bool",
    14: "bfloat16",
    17: "uint16",
    18: "complex128",
    19: "half",
    22: "uint32",
    23: "uint64",
}
_INT32 = (-(2**31), 2**31 - 1)
# DataType -> range of JSON integers that it takes.
_INTEGERS = {
    **dict.fromkeys((3, 4, 5, 6), _INT32),
    9: (-(2**63), 2**63 - 1),
    22: (0, 2**32 - 1),
    23: (0, 2**64 - 1),
}
# DataType -> (name, largest integer that it holds exactly, largest value).
_DECIMALS = {
    1: ("float", 2**24 - 1, float(np.finfo(np.float32).max)),
    2: ("double", 2**53 - 1, float(np.finfo(np.float64).max)),
}
_FIELDS = {
    1: "float_val",
    2: "double_val",
    **dict.fromkeys((3, 4, 5, 6), "int_val"),
    7: "string_val",
    9: "int64_val",
    10: "bool_val",
    22: "uint32_val",
    23: "uint64_val",
}


def fill_request(document: dict[str, Any], infos: Mapping[str, Any], request: Any) -> str:
    """Writes the tensors of a parsed predict body into `request`; returns "instances" or "inputs".

    Args:
        infos: TensorInfo by input name, of the signature that is asked for.

    Raises:
        StatusError: INVALID_ARGUMENT (UNIMPLEMENTED for a type that JSON cannot express).
    """
    if INSTANCES in document and INPUTS in document:
        raise format_error(
            document,
            "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist ",
        )
    if INSTANCES in document:
        if not isinstance(document[INSTANCES], list):
            raise format_error(document, "Expecting 'instances' to be an list/array")
        if not document[INSTANCES]:
            raise format_error(document, "No values in 'instances' array")
        _fill_from_instances(document[INSTANCES], infos, request)
        return INSTANCES
    if INPUTS in document:
        _fill_from_inputs(document[INPUTS], infos, request)
        return INPUTS
    raise _invalid("Missing 'inputs' or 'instances' key")


def response_text(outputs: Mapping[str, Any], request_format: str) -> str:
    """JSON of a PredictResponse's outputs: rows for "instances", columns for "inputs".

    Raises:
        StatusError: INVALID_ARGUMENT, no outputs, or rows whose numbers differ.
    """
    if not outputs:
        raise _invalid("Cannot convert empty tensor map to JSON")
    writers = {name: _value_writer(name, outputs[name]) for name in sorted(outputs)}
    arrays = {name: tensors.decode(outputs[name]) for name in writers}
    writer = PrettyWriter()
    writer.start_object()
    if request_format == INSTANCES:
        _write_rows(writer, arrays, writers)
    else:
        _write_columns(writer, arrays, writers)
    writer.end_object()
    return writer.text()


def _fill_from_instances(rows: list[Any], infos: Mapping[str, Any], request: Any) -> None:
    if not isinstance(rows[0], dict) and len(infos) > 1:
        raise _invalid(
            "instances is a plain list, but expecting list of objects as multiple input tensors "
            "required as per tensorinfo_map"
        )
    named = _is_object(rows[0])
    columns = {name: _Column(info.dtype) for name, info in infos.items()}
    for i, row in enumerate(rows):
        if named and not _is_object(row):
            raise _invalid(f"Expecting object but got list at item {i} of input list")
        if not named and _is_object(row):
            raise _invalid(f"Expecting value/list but got object at item {i} of input list")
        items = row.items() if named else [(next(iter(infos)), row)]
        for name, value in items:
            try:
                if name not in columns:
                    raise _invalid(f"JSON object: does not have named input: {name}")
                columns[name].add_row(value)
            except StatusError as error:
                key = f" key: {name}" if named else ""
                raise _invalid(
                    f"Failed to process element: {i}{key} of 'instances' list. Error: {error.text}"
                ) from error
        if named and row.keys() != infos.keys():
            raise _invalid(
                f"Failed to process element: {i} of 'instances' list. JSON object: {echo(row)} "
                f"keys must be equal to: {','.join(sorted(infos))}"
            )
    for name, column in columns.items():
        column.write((len(rows), *(column.shape or ())), request.inputs[name])


def _fill_from_inputs(value: Any, infos: Mapping[str, Any], request: Any) -> None:
    if _is_object(value):
        for name in infos:
            if name not in value:
                raise _invalid(f"Missing named input: {name} in 'inputs' object.")
        values = {name: value[name] for name in infos}
    elif len(infos) > 1:
        raise _invalid(
            "inputs is a plain value/list, but expecting an object as multiple input tensors "
            "required as per tensorinfo_map"
        )
    else:
        values = {next(iter(infos)): value}
    for name, item in values.items():
        column = _Column(infos[name].dtype)
        column.add_row(item)
        column.write(column.shape or (), request.inputs[name])


class _Column:
    """The values of one input, collected row by row; all rows have the shape of the first."""

    def __init__(self, dtype: int):
        self.shape: tuple[int, ...] | None = None
        self._dtype = dtype
        self._values: list[Any] = []

    def add_row(self, value: Any) -> None:
        shape = _shape_of(value)
        before = len(self._values)
        _flatten(value, shape, 0, self._dtype, self._values)
        if self.shape is None:
            self.shape = shape
            return
        expected, size = math.prod(self.shape), len(self._values) - before
        if size != expected:
            raise _invalid(f"Expecting tensor size: {expected} but got: {size}")
        if shape != self.shape:
            raise _invalid(f"Expecting shape {_text(self.shape)} but got: {_text(shape)}")

    def write(self, shape: Iterable[int], proto: Any) -> None:
        proto.dtype = self._dtype
        proto.tensor_shape.SetInParent()
        for size in shape:
            proto.tensor_shape.dim.add(size=size)
        if self._values:
            getattr(proto, _FIELDS[self._dtype]).extend(self._values)


def _shape_of(value: Any) -> tuple[int, ...]:
    """Shape along the first elements; ragged lists are found while flattening."""
    shape = []
    while isinstance(value, list):
        shape.append(len(value))
        if not value:
            break
        value = value[0]
    return tuple(shape)


def _flatten(value: Any, shape: tuple[int, ...], level: int, dtype: int, out: list[Any]) -> None:
    rank = len(shape)
    if not isinstance(value, list):
        if level != rank:
            raise format_error(
                value,
                f"found at incorrect level: {level + 1} in the JSON DOM. Expected at level: {rank}",
            )
        out.append(_scalar(value, dtype))
        return
    if level >= rank:
        raise _invalid(f"Encountered list at unexpected level: {level} expected < {rank}")
    if len(value) != shape[level]:
        raise _invalid(
            f"Encountered list at unexpected size: {len(value)} at level: {level} "
            f"expected size: {shape[level]}"
        )
    for item in value:
        _flatten(item, shape, level + 1, dtype, out)


def _scalar(value: Any, dtype: int) -> Any:
    if isinstance(value, dict):
        if dtype != tensors.DT_STRING:
            raise _type_error(value, dtype)
        return _decode_base64(value)
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if dtype in _DECIMALS:
        if not number:
            raise _type_error(value, dtype)
        return _lossless(value, dtype)
    if dtype in _INTEGERS:
        low, high = _INTEGERS[dtype]
        if not number or isinstance(value, float) or not low <= value <= high:
            raise _type_error(value, dtype)
        return value
    if dtype == tensors.DT_STRING:
        if not isinstance(value, str):
            raise _type_error(value, dtype)
        try:
            return value.encode("utf-8")
        except UnicodeEncodeError as error:
            raise _invalid("JSON Parse error: The surrogate pair in string is invalid.") from error
    if dtype == 10:
        if not isinstance(value, bool):
            raise _type_error(value, dtype)
        return value
    raise StatusError(
        Code.UNIMPLEMENTED,
        f"Conversion of JSON Value: {echo(value)} to type: {_TYPE_NAMES.get(dtype, dtype)}",
    )


def _lossless(value: int | float, dtype: int) -> float:
    name, largest_integer, largest = _DECIMALS[dtype]
    exact = abs(value) <= (largest_integer if isinstance(value, int) else largest)
    if not exact and math.isfinite(value):
        raise _invalid(
            f"Cannot convert JSON value: {echo(value)} to {name} without loss of precision."
        )
    return float(value)


def _decode_base64(value: dict[str, Any]) -> bytes:
    if not _is_base64(value):
        raise format_error(value, "not formatted correctly for base64 data")
    text = value["b64"].rstrip("=")
    try:
        # Padding is optional, the alphabet is the standard one.
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise _invalid("Unable to base64 decode") from error


def _is_base64(value: Any) -> bool:
    return isinstance(value, dict) and list(value) == ["b64"] and isinstance(value["b64"], str)


def _is_object(value: Any) -> bool:
    return isinstance(value, dict) and not _is_base64(value)


def _type_error(value: Any, dtype: int) -> StatusError:
    kinds = {dict: "Object", list: "Array", str: "String", type(None): "Null"}
    kind = str(value) if isinstance(value, bool) else kinds.get(type(value), "Number")
    return format_error(
        value, f"Type: {kind} is not of expected type: {_TYPE_NAMES.get(dtype, dtype)}"
    )


def _write_rows(
    writer: PrettyWriter, arrays: Mapping[str, np.ndarray], write: Mapping[str, Callable]
) -> None:
    batch: int | None = None
    for name, array in arrays.items():
        if not array.ndim:
            raise _invalid(f"Tensor name: {name} has no shape information ")
        if batch is not None and len(array) != batch:
            raise _invalid(
                f"Tensor name: {name} has inconsistent batch size: {len(array)} expecting: {batch}"
            )
        batch = len(array)
    writer.key("predictions")
    writer.start_array()
    for row in range(batch or 0):
        if len(arrays) > 1:
            writer.start_object()
        writer.single_line = True
        for name, array in arrays.items():
            if len(arrays) > 1:
                writer.key(name)
            _write_values(writer, array[row : row + 1].reshape(array.shape[1:]), write[name])
        writer.single_line = False
        if len(arrays) > 1:
            writer.end_object()
    writer.end_array()


def _write_columns(
    writer: PrettyWriter, arrays: Mapping[str, np.ndarray], write: Mapping[str, Callable]
) -> None:
    writer.key("outputs")
    if len(arrays) > 1:
        writer.start_object()
    for name, array in arrays.items():
        if len(arrays) > 1:
            writer.key(name)
        _write_values(writer, array, write[name])
    if len(arrays) > 1:
        writer.end_object()


def _write_values(writer: PrettyWriter, array: np.ndarray, write: Callable) -> None:
    if not array.ndim:
        write(writer, array[()])
        return
    writer.start_array()
    for i in range(len(array)):
        _write_values(writer, array[i : i + 1].reshape(array.shape[1:]), write)
    writer.end_array()


def _value_writer(name: str, proto: Any) -> Callable[[PrettyWriter, Any], None]:
    """How the elements of an output are written; bytes are base64 if its name ends in `_bytes`."""
    if proto.dtype == tensors.DT_STRING:
        return _write_base64 if name.endswith("_bytes") else _write_string
    if proto.dtype in _DECIMALS:
        return lambda writer, value: writer.value(decimal(value))
    if proto.dtype == 19:
        return lambda writer, value: writer.value(decimal(np.float32(value)))
    if proto.dtype == 10:
        return lambda writer, value: writer.value("true" if value else "false")
    if proto.dtype in _INTEGERS:
        return lambda writer, value: writer.value(str(int(value)))
    raise _invalid(
        f"Failed to write JSON value for tensor type: {_TYPE_NAMES.get(proto.dtype, proto.dtype)}"
    )


def _write_base64(writer: PrettyWriter, value: bytes) -> None:
    writer.start_object()
    writer.key("b64")
    writer.value(f'"{base64.b64encode(value).decode("ascii")}"')
    writer.end_object()


def _write_string(writer: PrettyWriter, value: bytes) -> None:
    # Bytes that are no UTF-8 leave as they came: the response encodes with the same handler.
    writer.value(string(value.decode("utf-8", "surrogateescape")))


def _text(shape: Iterable[int]) -> str:
    return "[" + ",".join(map(str, shape)) + "]"


def _invalid(message: str) -> StatusError:
    return StatusError(Code.INVALID_ARGUMENT, message)
