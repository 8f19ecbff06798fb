import datetime

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tfx_pipeline.data import log_branch
from tfx_pipeline.data.config import ExampleGenConfig, SplitConfig
from tfx_pipeline.data.log_branch import PAIR_SCHEMA, QueryCache, ReadLog, finish
from tfx_pipeline.data.tables import GroupedRows, from_bytes, shard_of, split_by_shard, to_bytes


def pairs(*rows):
    names = ("query", "image_id", "split", "position", "language", "clicks")
    values = [dict(zip(names, row, strict=True)) | {"impressions": row[-1]} for row in rows]
    return pa.Table.from_pylist(values, PAIR_SCHEMA)


def test_language_is_the_one_most_clicked():
    table = pairs(
        ("q", "a", "train", 1, "en", 2),
        ("q", "a", "train", 2, "en", 2),
        ("q", "a", "train", 1, "de", 3),
        ("q", "b", "train", 1, "fr", 1),
        ("q", "b", "train", 1, "de", 1),
    )
    final, dropped = finish(table, None, 10)
    assert dropped == 0
    assert final.select(["image_id", "language", "clicks"]).to_pylist() == [
        {"image_id": "a", "language": "en", "clicks": 7},
        {"image_id": "b", "language": "de", "clicks": 2},
    ]


def test_totals_are_per_split_and_without_dropped_pairs():
    table = pairs(
        ("q", "a", "test", 1, "en", 4),
        ("q", "b", "test", 1, "en", 2),
        ("q", "a", "val", 1, "en", 1),
        ("q", "c", "val", 1, "en", 1),
    )
    final, dropped = finish(table, np.array([0.5]), 10)
    assert dropped == 1
    rows = {(r["image_id"], r["split"]): (r["query_total"], r["weight"]) for r in final.to_pylist()}
    assert rows == {("a", "val"): (2, 2), ("c", "val"): (2, 2), ("b", "test"): (2, 4)}


def test_queries_are_normalised_once_each():
    cache = QueryCache()
    texts, languages = cache(pa.chunked_array([["Red  SHOE", "红鞋", "Red  SHOE"]]))
    assert texts.to_pylist() == ["red shoe", "红鞋", "red shoe"]
    assert languages.to_pylist() == ["en", "zh", "en"]
    assert cache(pa.chunked_array([["ＲＥＤ", "红鞋"]]))[0].to_pylist() == ["red", "红鞋"]


def read(file, **config):
    """Stats and rejected rows of a log file."""
    reader = ReadLog(ExampleGenConfig(**config), "unused")
    reader.setup()
    outputs = list(reader.process(str(file)))
    [stats] = [output.value for output in outputs if output.tag == ReadLog.STATS]
    return stats, [output.value for output in outputs if output.tag == ReadLog.REJECTED]


def test_a_row_that_no_check_foresaw_is_rejected_alone(tmp_path):
    moments = [1_704_164_645_000] * 40
    moments[17] = moments[30] = 2**60  # beyond the year 9999
    columns = {"query": ["q"] * 40, "image_id": ["a"] * 40, "clicked": [1] * 40}
    table = pa.table(columns | {"timestamp": pa.array(moments, pa.timestamp("ms", "UTC"))})
    pq.write_table(table, tmp_path / "log.parquet")
    day = datetime.datetime(2024, 1, 1)
    by_time = SplitConfig(policy="by_time", val_from=day, test_from=day)
    stats, rejected = read(tmp_path / "log.parquet", splits=by_time)
    assert stats["log"] == {"read": 40, "accepted": 38, "rejected": 2}
    assert stats["rejected"] == {"malformed_row": 2}
    assert [(row.row, row.source) for row in rejected] == [
        (18, str(tmp_path / "log.parquet")),
        (31, str(tmp_path / "log.parquet")),
    ]
    assert all(row.message.startswith("the row cannot be used (") for row in rejected)


def test_a_row_that_fails_behind_the_checks_is_rejected_alone(tmp_path, write_log, monkeypatch):
    real = log_branch.detect_language

    def detect(text):
        if text == "bad":
            raise KeyError("no such script")
        return real(text)

    monkeypatch.setattr(log_branch, "detect_language", detect)
    rows = [{"query": query, "image_id": "a", "clicked": 1} for query in ("q", "bad", "", "r")]
    stats, rejected = read(write_log(tmp_path / "log.csv", rows))
    assert stats["log"] == {"read": 4, "accepted": 2, "rejected": 2}
    assert [(row.row, str(row.reason), row.message) for row in rejected] == [
        (2, "malformed_row", "the row cannot be used (KeyError: 'no such script')"),
        (3, "missing_query", "query is missing or empty"),
    ]


@pytest.mark.parametrize("limit", [10, 10**6])
def test_grouping_while_rows_arrive_equals_grouping_at_once(limit):
    rng = np.random.default_rng(0)
    grouped = GroupedRows(["key"], [("n", "sum"), ("first", "min")], limit=limit)
    pieces, expected = [], {}
    for start in range(0, 300_000, 50_000):
        keys = rng.integers(0, 40_000, 50_000)
        numbers = np.arange(start, start + 50_000)
        pieces += grouped.add(pa.table({"key": keys, "n": np.ones(50_000, int), "first": numbers}))
        for key, number in zip(keys.tolist(), numbers.tolist(), strict=True):
            n, first = expected.get(key, (0, number))
            expected[key] = (n + 1, min(first, number))
    if limit == 10:
        assert pieces  # handed out on the way
    pieces += grouped.rest()
    found = {}
    for row in pa.concat_tables(pieces).to_pylist():
        n, first = found.get(row["key"], (0, row["first"]))
        found[row["key"]] = (n + row["n"], min(first, row["first"]))
    assert found == expected


def test_shards_hold_all_rows_and_depend_on_the_key_only():
    table = pa.table({"key": [f"k{i % 50}" for i in range(200)], "row": list(range(200))})
    parts = dict(split_by_shard(table, "key", 4))
    assert sorted(row for part in parts.values() for row in part["row"].to_pylist()) == list(
        range(200)
    )
    for shard, part in parts.items():
        assert {shard_of(key, 4) for key in part["key"].to_pylist()} == {shard}
    assert list(split_by_shard(table.slice(0, 0), "key", 4)) == []


def test_tables_survive_the_shuffle():
    table = pairs(("q", "a", None, 1, "en", 1))
    assert from_bytes([to_bytes(table), to_bytes(table)], PAIR_SCHEMA).num_rows == 2
    assert from_bytes([to_bytes(table)], PAIR_SCHEMA).equals(table)
    assert from_bytes([], PAIR_SCHEMA).num_rows == 0
