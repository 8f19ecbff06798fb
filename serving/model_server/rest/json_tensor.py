"""REST bodies to tensors and back: the rules and texts of TensorFlow Serving's json_tensor.cc."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from serving import tensors
from serving.errors import StatusError, invalid
from serving.model_server.rest.json_parser import format_error
from serving.model_server.rest.json_values import (
    READABLE,
    elements_array,
    is_object,
    scalar,
    to_array,
    type_name,
)
from serving.model_server.rest.json_writer import dump, echo

INSTANCES = "instances"
INPUTS = "inputs"
_BYTES_SUFFIX = "_bytes"
_DT_HALF = 19
# Types whose elements JSON can show.
_WRITABLE = READABLE | {_DT_HALF}


def fill_request(document: dict[str, Any], infos: Mapping[str, Any], request: Any) -> str:
    """Write the tensors of a parsed predict body into `request`; returns "instances" or "inputs".

    Args:
        document: the parsed body.
        infos: TensorInfo by input name, of the signature that is asked for.
        request: PredictRequest that is filled.

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
        arrays = _from_instances(document[INSTANCES], infos)
    elif INPUTS in document:
        arrays = _from_inputs(document[INPUTS], infos)
    else:
        raise invalid("Missing 'inputs' or 'instances' key")
    for name, array in arrays.items():
        tensors.encode(array, request.inputs[name], typed_fields=True)
    return INSTANCES if INSTANCES in document else INPUTS


def response_text(outputs: Mapping[str, Any], request_format: str) -> str:
    """JSON of a PredictResponse's outputs: rows for "instances", columns for "inputs".

    Raises:
        StatusError: INVALID_ARGUMENT, no outputs, rows whose numbers differ, or a type that JSON
            cannot show.
    """
    if not outputs:
        raise invalid("Cannot convert empty tensor map to JSON")
    if request_format == INSTANCES:
        return dump({"predictions": _rows(outputs)})
    return dump({"outputs": _columns(outputs)})


def _from_instances(rows: list[Any], infos: Mapping[str, Any]) -> dict[str, np.ndarray]:
    if not isinstance(rows[0], dict) and len(infos) > 1:
        raise invalid(
            "instances is a plain list, but expecting list of objects as multiple input tensors "
            "required as per tensorinfo_map"
        )
    arrays = _uniform_arrays(rows, infos)
    if arrays is not None:
        return arrays
    named = is_object(rows[0])
    columns = {name: _Column(info.dtype) for name, info in infos.items()}
    for i, row in enumerate(rows):
        if named and not is_object(row):
            raise invalid(f"Expecting object but got list at item {i} of input list")
        if not named and is_object(row):
            raise invalid(f"Expecting value/list but got object at item {i} of input list")
        items = row.items() if named else [(next(iter(infos)), row)]
        for name, value in items:
            try:
                if name not in columns:
                    raise invalid(f"JSON object: does not have named input: {name}")
                columns[name].add_row(value)
            except StatusError as error:
                key = f" key: {name}" if named else ""
                raise invalid(
                    f"Failed to process element: {i}{key} of 'instances' list. Error: {error.text}"
                ) from error
        if named and row.keys() != infos.keys():
            raise invalid(
                f"Failed to process element: {i} of 'instances' list. JSON object: {echo(row)} "
                f"keys must be equal to: {','.join(sorted(infos))}"
            )
    return {
        name: column.array(name, (len(rows), *(column.shape or ())))
        for name, column in columns.items()
    }


def _uniform_arrays(rows: list[Any], infos: Mapping[str, Any]) -> dict[str, np.ndarray] | None:
    """The inputs, if all rows are of one shape and type: nearly always, and without a look at each.

    Whatever is wrong is left to the closer look, which says what and where.
    """
    if is_object(rows[0]):
        names = infos.keys()
        # Not a RepeatedNames, which has more members than names.
        if not all(type(row) is dict and row.keys() == names for row in rows):
            return None
        columns = {name: [row[name] for row in rows] for name in infos}
    else:
        columns = {next(iter(infos)): rows}
    arrays = {}
    for name, column in columns.items():
        array = to_array(column, infos[name].dtype)
        if array is None:
            return None
        arrays[name] = array
    return arrays


def _from_inputs(value: Any, infos: Mapping[str, Any]) -> dict[str, np.ndarray]:
    if is_object(value):
        for name in infos:
            if name not in value:
                raise invalid(f"Missing named input: {name} in 'inputs' object.")
        values = {name: value[name] for name in infos}
    elif len(infos) > 1:
        raise invalid(
            "inputs is a plain value/list, but expecting an object as multiple input tensors "
            "required as per tensorinfo_map"
        )
    else:
        values = {next(iter(infos)): value}
    arrays = {}
    for name, item in values.items():
        array = to_array(item, infos[name].dtype)
        if array is None:
            column = _Column(infos[name].dtype)
            column.add_row(item)
            array = column.array(name, column.shape or ())
        arrays[name] = array
    return arrays


class _Column:
    """The values of one input, collected row by row; all rows have the shape of the first."""

    def __init__(self, dtype: int):
        self.shape: tuple[int, ...] | None = None
        self._dtype = dtype
        self._values: list[Any] = []

    def add_row(self, value: Any) -> None:
        shape = _shape_of(value)
        before = len(self._values)
        _flatten(value, shape, self._dtype, self._values)
        if self.shape is None:
            self.shape = shape
            return
        expected, size = math.prod(self.shape), len(self._values) - before
        if size != expected:
            raise invalid(f"Expecting tensor size: {expected} but got: {size}")
        if shape != self.shape:
            raise invalid(f"Expecting shape {_text(self.shape)} but got: {_text(shape)}")

    def array(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        if len(shape) > tensors.MAX_RANK:
            raise invalid(f"tensor parsing error: {name}")
        # A name that a row repeats gave too many values; the surplus is dropped.
        values = self._values[: math.prod(shape)]
        return elements_array(values, self._dtype).reshape(shape)


def _shape_of(value: Any) -> tuple[int, ...]:
    """Shape along the first elements; ragged lists are found while flattening."""
    shape = []
    while isinstance(value, list):
        shape.append(len(value))
        if not value:
            break
        value = value[0]
    return tuple(shape)


def _flatten(value: Any, shape: tuple[int, ...], dtype: int, out: list[Any]) -> None:
    """Append the elements of nested lists to `out`; no recursion, for lists may be deep."""
    rank = len(shape)
    pending = [(value, 0)]
    while pending:
        value, level = pending.pop()
        if not isinstance(value, list):
            if level != rank:
                raise format_error(
                    value,
                    f"found at incorrect level: {level + 1} in the JSON DOM. "
                    f"Expected at level: {rank}",
                )
            out.append(scalar(value, dtype))
            continue
        if level >= rank:
            raise invalid(f"Encountered list at unexpected level: {level} expected < {rank}")
        if len(value) != shape[level]:
            raise invalid(
                f"Encountered list at unexpected size: {len(value)} at level: {level} "
                f"expected size: {shape[level]}"
            )
        pending += [(item, level + 1) for item in reversed(value)]


def _rows(outputs: Mapping[str, Any]) -> Any:
    batch: int | None = None
    for name in sorted(outputs):
        shape = outputs[name].tensor_shape.dim
        if not shape:
            raise invalid(f"Tensor name: {name} has no shape information ")
        if batch is not None and shape[0].size != batch:
            raise invalid(
                f"Tensor name: {name} has inconsistent batch size: {shape[0].size} "
                f"expecting: {batch}"
            )
        batch = shape[0].size
    columns = _columns(outputs)
    if len(outputs) == 1:
        return columns
    return [dict(zip(columns, row)) for row in zip(*columns.values())]


def _columns(outputs: Mapping[str, Any]) -> Any:
    """Return the values of the outputs by name, or of the only output."""
    columns = {name: _values(name, outputs[name]) for name in sorted(outputs)}
    return columns if len(columns) > 1 else columns.popitem()[1]


def _values(name: str, proto: Any) -> Any:
    """What JSON shows of a tensor; bytes are base64 if the name of the output ends in `_bytes`."""
    array = tensors.decode(proto)
    if not array.size:
        return array.tolist()
    if proto.dtype not in _WRITABLE:
        raise invalid(f"Failed to write JSON value for tensor type: {type_name(proto.dtype)}")
    if proto.dtype == _DT_HALF:
        array = array.astype(np.float32)
    elif proto.dtype == tensors.DT_STRING:
        texts = np.empty(array.size, dtype=object)
        texts[:] = [_string(value, name) for value in array.ravel()]
        return texts.reshape(array.shape).tolist()
    # Of an array without dimensions, its element.
    return array[()]


def _string(value: bytes, name: str) -> str | dict[str, str]:
    if name.endswith(_BYTES_SUFFIX):
        return {"b64": base64.b64encode(value).decode("ascii")}
    # Bytes that are no UTF-8 leave as they came: the response encodes with the same handler.
    return value.decode("utf-8", "surrogateescape")


def _text(shape: Iterable[int]) -> str:
    return "[" + ",".join(map(str, shape)) + "]"
