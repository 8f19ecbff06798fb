import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from tfx_pipeline.evaluation.relevance import read_relevance
from vl_models.errors import UserError


def test_queries_of_the_split_with_all_their_clicks(store):
    relevance = read_relevance(store["relevance_path"], ["test"])
    assert relevance.queries == ["red", "绿色", "sun"]  # no "sea": never clicked in test
    assert relevance.languages == ["en", "zh", "en"]
    assert relevance.clicks.tolist() == [107, 7, 1]
    assert relevance.pair_query.tolist() == [0, 1, 0, 2, 0, 1]
    assert relevance.pair_image.tolist() == ["red", "green", "yellow", "yellow", "pink", "gone"]
    assert relevance.pair_counted.tolist() == [True, True, False, True, True, True]


def test_several_splits(store):
    relevance = read_relevance(store["relevance_path"], ["test", "train"])
    assert "sea" in relevance.queries
    assert relevance.pair_counted.all()


def test_queries_with_a_click_in_train_are_seen(store):
    relevance = read_relevance(store["relevance_path"], ["test"])
    assert dict(zip(relevance.queries, relevance.seen)) == {
        "red": True,
        "绿色": False,
        "sun": False,
    }


def test_without_any_click_of_train_nobody_knows_what_was_seen(store, tmp_path):
    """A file of judgements: that it lacks train does not mean that nothing was trained on."""
    table = pq.read_table(store["relevance_path"])
    judged = table.filter(pc.equal(table["split"], "test"))
    pq.write_table(judged, tmp_path / "judged.parquet")
    assert read_relevance(tmp_path / "judged.parquet", ["test"]).seen is None


def test_clicks_of_val_are_not_seen(tmp_path, make):
    rows = [
        ("red", "red", 1, 1.0, "test", "en"),
        ("red", "pink", 1, 1.0, "val", "en"),
        ("sea", "blue", 1, 1.0, "train", "en"),  # of a query that is not evaluated
    ]
    make.relevance(tmp_path / "relevance.parquet", rows)
    assert read_relevance(tmp_path / "relevance.parquet", ["test"]).seen.tolist() == [False]


def test_select_keeps_the_queries(store):
    relevance = read_relevance(store["relevance_path"], ["test"])
    one = relevance.select(np.arange(6) == 3)
    assert one.pair_image.tolist() == ["yellow"]
    assert one.queries == relevance.queries
    assert one.seen.tolist() == relevance.seen.tolist()


def test_split_without_rows(store):
    with pytest.raises(UserError) as error:
        read_relevance(store["relevance_path"], ["val"])
    assert str(error.value) == (
        f"{store['relevance_path']}: no row belongs to the evaluated split(s) val. "
        "Received: splits=['test', 'train']"
    )


def test_missing_file_and_column(tmp_path):
    with pytest.raises(UserError, match="There is no relevance file"):
        read_relevance(tmp_path / "relevance.parquet", ["test"])
    pq.write_table(pa.table({"query": ["a"], "image_id": ["b"]}), tmp_path / "short.parquet")
    with pytest.raises(UserError, match=r"missing column\(s\) clicks, weight, split, language"):
        read_relevance(tmp_path / "short.parquet", ["test"])


def with_correlation(store, path, values):
    table = pq.read_table(store["relevance_path"])
    pq.write_table(table.append_column("correlation", pa.array(values, pa.string())), path)


def test_correlation_is_optional(store, tmp_path):
    assert read_relevance(store["relevance_path"], ["test"]).correlations is None
    values = ["weak", "strong", "weak", "strong", "weak", "strong", "strong"]
    with_correlation(store, tmp_path / "relevance.parquet", values)
    relevance = read_relevance(tmp_path / "relevance.parquet", ["test"])
    assert dict(zip(relevance.queries, relevance.correlations)) == {
        "red": "weak",
        "绿色": "strong",
        "sun": "strong",
    }
    with_correlation(store, tmp_path / "null.parquet", [*values[:-1], None])
    with pytest.raises(UserError, match=r"column correlation has 1 null value\(s\)"):
        read_relevance(tmp_path / "null.parquet", ["test"])


def test_null_value(make, tmp_path):
    make.relevance(tmp_path / "null.parquet", [*make.clicks, ("red", None, 1, 1.0, "test", "en")])
    with pytest.raises(UserError, match=r"column image_id has 1 null value\(s\)"):
        read_relevance(tmp_path / "null.parquet", ["test"])
