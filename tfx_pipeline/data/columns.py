"""Raw columns → Arrow arrays of their type: whole columns where Arrow converts as `values` does.

Whatever Arrow refuses, or would convert in another way, is converted row by row.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tfx_pipeline.data import values
from tfx_pipeline.data.readers import Column
from tfx_pipeline.data.values import ValueFault

TIME = pa.timestamp("us", tz="UTC")
_PLAIN_INTEGER = r"^-?[0-9]{1,18}$"
_EXACT = {pa.float16(): 2**11, pa.float32(): 2**24, pa.float64(): 2**53}

Fail = Callable[[int, ValueFault], None]


def text_column(column: Column, fail: Fail) -> pa.Array:
    """Texts, trimmed; string[n], null where absent, empty or faulty."""
    column = _simple(column)
    texts = _fast_text(column)
    if texts is None:
        texts = _by_row(column, values.as_text, pa.string(), fail)
    texts = pc.utf8_trim_whitespace(texts)
    return pc.if_else(pc.equal(texts, ""), pa.scalar(None, pa.string()), texts)


def integer_column(column: Column, fail: Fail) -> pa.Array:
    """Whole numbers; int64[n], null where absent or faulty."""
    column = _simple(column)
    numbers = _fast_integers(column)
    return _by_row(column, values.as_integer, pa.int64(), fail) if numbers is None else numbers


def time_column(column: Column, fail: Fail) -> pa.Array:
    """Moments in UTC; timestamp[us][n], null where absent or faulty."""
    column = _simple(column)
    times = _fast_times(column)
    return _by_row(column, values.as_time, TIME, fail) if times is None else times


def bytes_column(column: Column, fail: Fail) -> pa.Array:
    """Bytes; (large_)binary[n], null where absent or faulty."""
    column = _simple(column)
    if isinstance(column, pa.Array) and _is_binary(column.type):
        heads = pc.binary_slice(column, 0, 16)
        if not pc.any(pc.match_substring_regex(heads, r"^[\x21-\x7e\s]+$")).as_py():
            return column
    return _by_row(column, values.as_bytes, pa.large_binary(), fail)


def value_at(column: Column, index: int) -> Any:
    """A single value as Python sees it; text that is not UTF-8 as bytes."""
    if isinstance(column, list):
        return column[index]
    if _is_string(column.type):
        column = column.slice(index, 1).cast(pa.large_binary())
        value = column[0].as_py()
        try:
            return value if value is None else value.decode("utf-8")
        except UnicodeDecodeError:
            return value
    return column[index].as_py()


def _by_row(
    column: Column, convert: Callable[[Any], Any], kind: pa.DataType, fail: Fail
) -> pa.Array:
    converted = []
    for index, value in enumerate(_python_values(column)):
        try:
            converted.append(convert(value))
        except ValueFault as fault:
            fail(index, fault)
            converted.append(None)
    return pa.array(converted, kind)


def _python_values(column: Column) -> list[Any]:
    if isinstance(column, list):
        return column
    if column.type in (pa.float16(), pa.float32()):
        # Python's floats would hide how few digits these have.
        return list(column.to_numpy(zero_copy_only=False))
    try:
        return column.to_pylist()
    except UnicodeDecodeError:
        return [value_at(column, index) for index in range(len(column))]


def _simple(column: Column) -> Column:
    """A column without dictionary or extension type, UUIDs as text."""
    if isinstance(column, list):
        return column
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    if pa.types.is_fixed_size_binary(column.type):
        raw = column.to_pylist()
        if column.type.byte_width == 16 and not all(_is_ascii(value) for value in raw):
            return [None if value is None else uuid.UUID(bytes=value) for value in raw]
        return pa.array(raw, pa.binary())
    return column


def _is_ascii(value: bytes | None) -> bool:
    return value is None or (value.isascii() and value.decode("ascii").isprintable())


def _fast_text(column: Column) -> pa.Array | None:
    if isinstance(column, list):
        return None
    kind = column.type
    if pa.types.is_null(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return column.cast(pa.string())
    if _is_string(kind):
        column = column.cast(pa.large_binary() if pa.types.is_large_string(kind) else pa.binary())
    elif not _is_binary(kind):
        return None
    try:
        texts = column.cast(pa.string())  # checks the UTF-8
    except pa.ArrowInvalid:
        return None
    return None if pc.any(pc.match_substring(texts, "\0")).as_py() else texts


def _fast_integers(column: Column) -> pa.Array | None:
    if isinstance(column, list):
        return None
    kind = column.type
    try:
        if pa.types.is_floating(kind):
            column = pc.if_else(pc.is_nan(column), pa.scalar(None, kind), column)
            numbers = column.cast(pa.int64())  # refuses fractions and infinity
            largest = pc.max(pc.abs_checked(numbers)).as_py() or 0
            return numbers if largest < _EXACT[kind] else None
        if _is_string(kind) or _is_binary(kind):
            column = column.cast(pa.string())
            if not pc.all(pc.match_substring_regex(column, _PLAIN_INTEGER)).as_py():
                return None  # Arrow also reads hexadecimal numbers
        elif not (pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_null(kind)):
            return None
        return column.cast(pa.int64())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None


def _fast_times(column: Column) -> pa.Array | None:
    if isinstance(column, list):
        return None
    kind = column.type
    if pa.types.is_null(kind):
        return column.cast(TIME)
    try:
        if pa.types.is_timestamp(kind):
            # Digits below a microsecond may go; what overflows may not.
            times = column.cast(pa.timestamp("us", kind.tz), safe=kind.unit != "ns")
            return times.cast(TIME)  # without a zone it is UTC
        if pa.types.is_date(kind):
            return column.cast(pa.timestamp("us")).cast(TIME)
    except pa.ArrowInvalid:
        return None
    if pa.types.is_integer(kind) and column.null_count < len(column):
        limits = pc.min_max(column).as_py()
        for factor, unit in values.EPOCH_UNITS.items():
            # From 1,990,010,100 on, seconds may be hours as YYYYMMDDhh.
            if values.EARLIEST * factor <= limits["min"] <= limits["max"] < 1_990_010_100 * factor:
                return column.cast(pa.int64()).cast(pa.timestamp(unit, "UTC")).cast(TIME, False)
    return None


def _is_string(kind: pa.DataType) -> bool:
    return (
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


def _is_binary(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
