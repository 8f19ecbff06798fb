import datetime

import numpy as np
import pyarrow as pa
import pytest

from tfx_pipeline.data.readers import RawBatch
from tfx_pipeline.data.validate import validate

UTC = datetime.UTC


def check(columns, **options):
    arrays = {name: pa.array(values) for name, values in columns.items()}
    count = len(next(iter(arrays.values())))
    base = {"query": ["q"] * count, "image_id": ["a"] * count, "clicked": [1] * count}
    arrays = {name: pa.array(values) for name, values in base.items()} | arrays
    batch = RawBatch("log", np.arange(1, count + 1), arrays)
    clean, rejected = validate(batch, **options)
    return clean, {row.row: (str(row.reason), row.message) for row in rejected}


@pytest.mark.parametrize(
    ("column", "value", "reason", "message"),
    [
        ("query", "  ", "missing_query", "query is missing or empty"),
        ("image_id", None, "missing_image_id", "image_id is missing or empty"),
        ("clicked", "two", "bad_number", "clicked is not a whole number: 'two'"),
        ("clicked", "2", "bad_number", "clicked is neither 0 nor 1: 2"),
        ("clicked", "-1", "negative_count", "clicked is negative: -1"),
        ("clicked", None, "bad_number", "neither clicked nor clicks has a value"),
        ("clicks", -3, "negative_count", "clicks is negative: -3"),
        ("clicks", 1.5, "bad_number", "clicks is not a whole number: '1.5'"),
        ("clicks", float("inf"), "bad_number", "clicks is not a whole number: 'inf'"),
        ("impressions", -1, "negative_count", "impressions is negative: -1"),
        ("position", 0, "bad_position", "position must be 1 or more: 0"),
        ("position", "top", "bad_position", "position is not a whole number: 'top'"),
        ("label", "x", "bad_number", "label is not a whole number: 'x'"),
    ],
)
def test_each_fault_has_its_reason_and_message(column, value, reason, message):
    good = {"query": "q", "image_id": "a", "clicked": "1"}.get(column, 1)
    good = str(good) if isinstance(value, str) else good
    clean, rejected = check({column: [good, value]})
    assert rejected == {2: (reason, message)}
    assert clean["row"].to_pylist() == [1]


def test_clicks_and_impressions_of_both_forms():
    clean, rejected = check(
        {"clicked": [1, 0, None], "clicks": [None, None, 5], "impressions": [None, None, 20]}
    )
    assert rejected == {}
    assert clean["clicks"].to_pylist() == [1, 0, 5]
    assert clean["impressions"].to_pylist() == [1, 1, 20]


def test_split_is_read_only_when_asked_for():
    clean, rejected = check({"split": ["train", None, "dev"]}, splits=True)
    assert clean["split"].to_pylist() == ["train", None]
    assert rejected == {3: ("bad_split", "split is none of train, val, test: 'dev'")}
    clean, rejected = check({"split": ["train", None, "dev"]})
    assert clean["split"].null_count == 3
    assert rejected == {}


def test_times_of_all_forms_are_utc():
    moment = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    forms = [
        [moment],
        [moment.replace(tzinfo=None)],
        ["2026-01-02T03:04:05Z"],
        ["2026-01-02T04:04:05+01:00"],
        ["2026-01-02 03:04:05"],
        [int(moment.timestamp())],
        [str(int(moment.timestamp()))],
    ]
    for form in forms:
        clean, rejected = check({"timestamp": form}, times=True)
        assert rejected == {}
        assert clean["time"].to_pylist() == [moment]


def test_bad_and_missing_times():
    _, rejected = check({"timestamp": ["yesterday", None]}, times=True)
    assert rejected[1][0] == "bad_timestamp"
    assert rejected[2] == ("bad_timestamp", "timestamp is missing")
    assert check({"timestamp": ["yesterday", None]})[1] == {}


def test_the_first_fault_is_the_reason():
    _, rejected = check({"query": [""], "image_id": [""], "clicked": [-1]})
    assert rejected == {1: ("missing_query", "query is missing or empty")}
