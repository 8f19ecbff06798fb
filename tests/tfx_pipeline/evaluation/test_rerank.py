"""Before and after reranking, query by query; the weight chosen on val; what it costs."""

import numpy as np
import pytest
import tensorflow as tf

from tests.tfx_pipeline.evaluation.conftest import COLORS, png, write_gallery, write_relevance
from tests.tfx_pipeline.evaluation.test_evaluators import options, save_reranker
from tfx_pipeline.evaluation.config import EvaluationConfig
from tfx_pipeline.evaluation.data import EvaluationData
from tfx_pipeline.evaluation.evaluators import evaluate
from tfx_pipeline.evaluation.metric_keys import lower_is_better
from tfx_pipeline.evaluation.rerank import Rerank
from tfx_pipeline.evaluation.write import write_evaluation
from vl_models.errors import UserError

PAIRED = ("recall@1", "recall@2", "mrr")


@pytest.fixture(scope="module")
def reranked(store, tmp_path_factory):
    """The store with a reranker that reads images apart from texts."""
    path = tmp_path_factory.mktemp("reranker") / "reranker"
    save_reranker(path, tokens=True)
    return {**store, "members": {**store["members"], "reranker": path}}


@pytest.fixture(scope="module")
def found(reranked):
    return evaluate(**reranked, config=options())


@pytest.mark.parametrize("way", ["rerank", "rerank_tokens"])
@pytest.mark.parametrize("name", PAIRED)
def test_a_difference_is_after_less_before(found, way, name):
    metrics = found.metrics
    assert metrics[f"rerank/{name}_before"] == pytest.approx(metrics[name])
    expected = metrics[f"{way}/{name}"] - metrics[name]
    assert metrics[f"{way}/{name}_difference"] == pytest.approx(expected)
    low, high = found.intervals[f"{way}/{name}_difference"]
    assert low <= expected <= high


def test_images_read_before_are_scored_alike(found):
    for name in PAIRED:
        assert found.metrics[f"rerank_tokens/{name}"] == found.metrics[f"rerank/{name}"]


def test_differences_are_of_the_same_queries(reranked):
    """One candidate changes nothing: not on average only, but in every resample."""
    one = evaluate(**reranked, config=options(evaluators=["rerank"], rerank={"candidates": 1}))
    assert one.metrics["rerank/mrr_difference"] == 0.0
    assert tuple(one.intervals["rerank/mrr_difference"]) == (0.0, 0.0)
    low, high = one.intervals["rerank/mrr"]
    assert low < high


@pytest.mark.parametrize("way", ["rerank", "rerank_tokens"])
def test_what_seen_and_unseen_queries_gain(found, way):
    """Seen is "red", whose images stay first.

    Of the unseen, "sun" rises from the second place to the first; "绿色", which the reranker does
    not know, falls from the first to the fifth.
    """
    metrics, intervals = found.metrics, found.intervals
    for part, before, after in (
        ("seen", 1.0, 1.0),
        ("unseen", (1 + 1 / 2) / 2, (1 / 5 + 1) / 2),
    ):
        part = f"seen_unseen={part}"
        assert metrics[f"{part}/rerank/mrr_before"] == metrics[f"{part}/mrr"] == before
        assert metrics[f"{part}/{way}/mrr"] == pytest.approx(after)
        assert metrics[f"{part}/{way}/mrr_difference"] == pytest.approx(after - before)
    assert intervals[f"seen_unseen=seen/{way}/mrr_difference"] == (0.0, 0.0)
    # Draws of two queries go from the difference of the one to that of the other.
    low, high = intervals[f"seen_unseen=unseen/{way}/mrr_difference"]
    assert 1 / 5 - 1 <= low + 1e-9 < high <= 1 - 1 / 2


def test_differences_of_slices_add_up(found):
    rows = [row for row in found.per_query.to_pylist() if row["direction"] == "rerank"]
    for slice_name in ("language", "seen_unseen"):
        for name in PAIRED:
            total = sum(
                row[f"{name}/count"]
                * found.metrics[f"{slice_name}={row[slice_name]}/rerank/{name}_difference"]
                for row in rows
            )
            items = sum(row[f"{name}/count"] for row in rows)
            assert total / items == pytest.approx(found.metrics[f"rerank/{name}_difference"])


def test_every_metric_is_told_before(reranked):
    for rerank in ({"order": "score"}, {"order": "sum", "weight": 1.0}):
        config = options(evaluators=["rerank"], rerank=rerank)
        told = Rerank().keys(EvaluationData(**reranked, config=config))
        assert len(set(told)) == len(told)
        assert set(told) == evaluate(**reranked, config=config).metrics.keys()


@pytest.mark.parametrize("way", ["rerank", "rerank_tokens"])
def test_what_a_query_costs(found, way):
    milliseconds = found.metrics[f"{way}/ms_per_query"]
    assert milliseconds > 0
    per_second = found.counts["candidates"] / (milliseconds / 1000)
    assert found.metrics[f"{way}/images_per_second"] == pytest.approx(per_second)
    assert lower_is_better(f"{way}/ms_per_query") and lower_is_better("rerank/towers/ms_per_query")
    assert found.metrics["rerank/towers/ms_per_query"] > 0


def test_a_release_may_have_to_gain_by_reranking(reranked):
    rules = {"rerank/recall@1_difference": {"min": 2.0}, "rerank_tokens/ms_per_query": {"max": 1e6}}
    blessing = evaluate(
        **reranked, config=options(evaluators=["rerank"], thresholds=rules)
    ).blessing
    assert not blessing.blessed
    assert "rerank/recall@1_difference" in " ".join(blessing.reasons)
    assert "ms_per_query" not in " ".join(blessing.reasons)


def test_the_report_shows_both_orders(found, tmp_path):
    write_evaluation(found, tmp_path)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    section = page[page.index("<h2>Reranking, text to image</h2>") :]
    for column in ("towers", "reranked", "difference", "reranked, images read before"):
        assert f"<th>{column}</th>" in section or f"<td>{column}</td>" in section
    assert "<th>images per second</th>" in section
    slices = page[page.index("<h2>Slices, reranking</h2>") :]
    row = slices[slices.index("<td>unseen</td><td>2</td><td>mrr</td>") :].partition("</tr>")[0]
    assert [value in row for value in ("0.750", "0.600", "-0.150")] == [True] * 3


# Two queries whose image the towers have second; the reranker knows one word of them.
_VAL = [
    ("sun", "yellow", 1, 1.0, "val", "en"),
    ("red", "red", 1, 1.0, "val", "en"),
    ("red", "pink", 1, 1.0, "test", "en"),
]


@pytest.fixture(scope="module")
def with_val(reranked, tmp_path_factory):
    root = tmp_path_factory.mktemp("val")
    write_gallery(root / "gallery", {name: png(color) for name, color in COLORS.items()})
    write_relevance(root / "relevance.parquet", _VAL)
    return {
        "members": reranked["members"],
        "gallery_dir": root / "gallery",
        "relevance_path": root / "relevance.parquet",
    }


def test_a_weight_is_chosen_on_val_and_never_on_test(with_val, tmp_path):
    rerank = {"order": "sum", "weight": "auto"}
    found = evaluate(**with_val, config=options(evaluators=["rerank"], rerank=rerank))
    # "sun": cosine of green 1, of yellow 0.71; scores 0 of yellow, -255 of green, so 0.3 / 255 is
    # weight enough, and the least of the grid above 0 wins.
    assert found.metrics["rerank/weight"] == 0.01
    clicks = [("red", "red", 1, 1.0, "val", "en"), ("sun", "yellow", 1, 1.0, "test", "en")]
    write_relevance(tmp_path / "clicks.parquet", clicks)
    swapped = {**with_val, "relevance_path": tmp_path / "clicks.parquet"}
    other = evaluate(**swapped, config=options(evaluators=["rerank"], rerank=rerank))
    assert other.metrics["rerank/weight"] == 0.0  # val needs none, whatever test would like
    assert other.metrics["rerank/recall@1"] == other.metrics["rerank/recall@1_before"] == 0.0


@pytest.mark.parametrize(("weight", "first"), [(0.0, 0.0), (1.0, 1.0)])
def test_a_given_weight_is_taken(with_val, tmp_path, weight, first):
    write_relevance(tmp_path / "sun.parquet", [("sun", "yellow", 1, 1.0, "test", "en")])
    rerank = {"order": "sum", "weight": weight}
    data = {**with_val, "relevance_path": tmp_path / "sun.parquet"}
    found = evaluate(**data, config=options(evaluators=["rerank"], rerank=rerank))
    assert found.metrics["rerank/weight"] == weight
    assert found.metrics["rerank/recall@1"] == first


def test_a_weight_without_val_is_refused(reranked):
    with pytest.raises(UserError, match=r"weight: auto is chosen on the split val, which cannot"):
        evaluate(**reranked, config=options(evaluators=["rerank"], rerank={"order": "sum"}))


def test_scores_that_are_no_numbers_are_refused(store, tmp_path):
    class Broken(tf.Module):
        @tf.function(
            input_signature=[
                tf.TensorSpec([None], tf.string, name="query"),
                tf.TensorSpec([None], tf.string, name="image_bytes"),
            ]
        )
        def score(self, query, image_bytes):
            return {"score": tf.where(query == "sun", np.float32("nan"), 0.0)}

    module = Broken()
    tf.saved_model.save(module, str(tmp_path / "reranker"), signatures={"score": module.score})
    members = {**store["members"], "reranker": tmp_path / "reranker"}
    with pytest.raises(UserError, match=r"Received: score=nan of query 'sun' and image"):
        evaluate(**{**store, "members": members}, config=EvaluationConfig(evaluators=["rerank"]))
