import numpy as np
import pyarrow as pa
import pytest

from tfx_pipeline.data.log_branch import PAIR_SCHEMA, QueryCache, finish
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
