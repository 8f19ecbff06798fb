"""Whole columns are converted as `values` converts each value."""

import datetime
import uuid
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

from tfx_pipeline.data import columns, values

UTC = datetime.UTC


def convert(function, column):
    faults = {}
    array = function(column, lambda index, fault: faults.setdefault(index, fault.message))
    return array.to_pylist(), faults


COLUMNS = [
    pa.array(["a", " b ", "", None, "红"]),
    pa.array(["a", "b\0", None]),
    pa.array([b"a", b"\xff"], pa.binary()),
    pa.array(["a", None], pa.large_string()),
    pa.array(["a", None]).dictionary_encode(),
    pa.array([1, None, -(2**63)], pa.int64()),
    pa.array([2**64 - 1, 1], pa.uint64()),
    pa.array([True, None]),
    pa.array([1.0, 2.5, None, float("nan"), 1e17, -0.0]),
    pa.array([1.0, 2.0**24, None], pa.float32()),
    pa.array([1.0, 2.0, None], pa.float64()),
    pa.array([Decimal("1.00"), Decimal("2.50")], pa.decimal128(10, 2)),
    pa.array(["1", "-2", "", None]),
    pa.array(["1", "3.0", "0x10", " 4 ", "true"]),
    pa.array([b"1", b"top", b"\xff"], pa.binary()),
    pa.nulls(2),
    pa.array([datetime.datetime(2024, 1, 2, tzinfo=UTC), None]),
    pa.array([datetime.datetime(2024, 1, 2), None]),
    pa.array([datetime.date(2024, 1, 2), None]),
    pa.array(["2024-01-02", "20240102", "x"]),
    pa.array([1_704_164_645, None]),
    pa.array([1_704_164_645, 0]),
    pa.array([1_704_164_645_000, 1_704_164_645_123]),
    pa.array([2_024_010_203, 1_704_164_645]),
    pa.array([20_240_102, 20_240_103]),
    pa.array(["_w", "/w==", "no!", None]),
    pa.array([b"\xff\xd8", b"", None], pa.binary()),
    pa.array([b"\xff\xd8", b"/w=="], pa.binary()),
]


@pytest.mark.parametrize("column", COLUMNS, ids=lambda column: str(column.type))
@pytest.mark.parametrize("kind", ["text", "integer", "time", "bytes"])
def test_a_column_is_converted_as_its_values_are(column, kind):
    raw = [columns.value_at(column, index) for index in range(len(column))]
    if column.type == pa.float32():
        raw = [np.float32("nan" if value is None else value) for value in raw]
    expected, faults = [], {}
    for index, value in enumerate(raw):
        try:
            expected.append(getattr(values, f"as_{kind}")(value))
        except values.ValueFault as fault:
            expected.append(None)
            faults[index] = fault.message
    if kind == "text":
        expected = [text.strip() or None if text else None for text in expected]
    assert convert(getattr(columns, f"{kind}_column"), column) == (expected, faults)
    assert convert(getattr(columns, f"{kind}_column"), raw) == (expected, faults)


def test_uuids_are_written_as_everybody_writes_them():
    ids = [uuid.UUID("a1906841-38fb-5cb7-8aff-1d0d9d255587"), None, uuid.UUID(int=0)]
    raw = [None if value is None else value.bytes for value in ids]
    texts = [None if value is None else str(value) for value in ids]
    fixed = pa.array(raw, pa.binary(16))
    extension = pa.ExtensionArray.from_storage(pa.uuid(), fixed)
    for column in (fixed, extension, fixed.dictionary_encode()):
        assert convert(columns.text_column, column) == (texts, {})


def test_text_of_sixteen_bytes_is_no_uuid():
    column = pa.array([b"0123456789abcdef", None], pa.binary(16))
    assert convert(columns.text_column, column) == (["0123456789abcdef", None], {})
    column = pa.array([b"abc"], pa.binary(3))
    assert convert(columns.text_column, column) == (["abc"], {})


def test_digits_below_a_microsecond_are_dropped():
    column = pa.array([1_704_164_645_000_000_999], pa.timestamp("ns"))
    moment = datetime.datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert convert(columns.time_column, column) == ([moment], {})
