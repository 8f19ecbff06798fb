import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tfx_pipeline.evaluation.config import EvaluationConfig
from tfx_pipeline.evaluation.evaluators import evaluate
from tfx_pipeline.evaluation.metric_keys import measure_names
from tfx_pipeline.evaluation.write import write_evaluation
from vl_models.errors import UserError


@pytest.fixture(scope="module")
def config():
    return EvaluationConfig(
        ks=[1, 2, 5],
        head_min_clicks=8,
        bootstrap={"samples": 50},
        batch_size=2,
        report={"projection": "pca", "queries": 4, "failures": 4, "results": 3},
        thresholds={"recall@1": {"min": 0.7, "max_drop_vs_baseline": 0.1}},
    )


@pytest.fixture(scope="module")
def evaluation(store, config):
    return evaluate(**store, config=config, baseline={"recall@1": 0.8})


def test_values_by_hand(evaluation):
    # red and pink are found first (yellow, a training click, is removed), green too; the
    # yellow image of "sun" comes second.
    metrics = evaluation.metrics
    assert metrics["recall@1"] == pytest.approx(3 / 4)
    assert metrics["recall@2"] == 1.0
    assert metrics["mrr"] == pytest.approx((1 + 1 + 1 + 1 / 2) / 4)
    assert metrics["median_rank"] == 1.0
    assert metrics["map@all"] == pytest.approx((1 + 1 + 1 / 2) / 3)
    assert metrics["ndcg@5"] == pytest.approx((1 + 1 + 1 / np.log2(3)) / 3)
    # "sun": beaten by green, beats three of four others.
    assert metrics["auc"] == pytest.approx((1 + 1 + 3 / 4) / 3)


def test_image_to_text_by_hand(evaluation):
    # "sun" and "绿色" have one embedding: tied for the green and the yellow image.
    metrics = evaluation.metrics
    assert metrics["recall@1/image_to_text"] == pytest.approx(2 / 4)
    assert metrics["mrr/image_to_text"] == pytest.approx((1 + 1 + 1 / 2 + 1 / 2) / 4)
    assert metrics["median_rank/image_to_text"] == 1.5
    assert metrics["recall@1/mean"] == pytest.approx((3 / 4 + 2 / 4) / 2)


def test_slices_by_hand(evaluation):
    metrics = evaluation.metrics
    assert metrics["language=en/recall@1"] == pytest.approx(2 / 3)
    assert metrics["language=zh/recall@1"] == 1.0
    # Head: "red", 107 clicks over all splits. The others have 3 and 1 (the gallery lacks
    # one image, but its clicks count): 7 and 1.
    assert metrics["head_tail=head/recall@1"] == 1.0
    assert metrics["head_tail=tail/recall@1"] == pytest.approx(1 / 2)
    # Seen: "red" again, with its click in train.
    assert metrics["seen_unseen=seen/mrr"] == 1.0
    assert metrics["seen_unseen=unseen/mrr"] == pytest.approx((1 + 1 / 2) / 2)
    assert metrics["query_length=1-2/recall@1"] == metrics["recall@1"]


def test_correlation_slices_by_hand(store, tmp_path):
    table = pq.read_table(store["relevance_path"])
    weak = pa.array(
        ["weak" if query == "sun" else "strong" for query in table["query"].to_pylist()]
    )
    path = tmp_path / "relevance.parquet"
    pq.write_table(table.append_column("correlation", weak), path)
    config = EvaluationConfig(
        bootstrap={"samples": 10},
        thresholds={"correlation=weak/recall@5": {"min": 1.0}},
    )
    found = evaluate(**{**store, "relevance_path": path}, config=config)
    # "sun" finds its image second; the three other pairs come first.
    assert found.metrics["correlation=weak/recall@1"] == 0.0
    assert found.metrics["correlation=weak/recall@5"] == 1.0
    assert found.metrics["correlation=strong/recall@1"] == 1.0
    assert found.blessing.blessed
    # A judged file need not know the correlation, but then nothing can be asked of it.
    with pytest.raises(UserError, match="no metric 'correlation=weak/recall@5'"):
        evaluate(**store, config=config)


def test_slices_add_up_to_the_total(evaluation):
    rows = evaluation.per_query.to_pylist()
    for slice_name in ("language", "head_tail", "seen_unseen", "query_length"):
        for measure in measure_names(evaluation.config):
            if measure == "median_rank":
                continue
            total = weight = 0.0
            for value in {row[slice_name] for row in rows} - {None}:
                size = sum(row[f"{measure}/count"] for row in rows if row[slice_name] == value)
                total += size * evaluation.metrics[f"{slice_name}={value}/{measure}"]
                weight += size
            assert total / weight == pytest.approx(evaluation.metrics[measure])


def test_modality_gap(evaluation):
    images = np.array([(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (255, 128, 128)], float)
    images /= np.linalg.norm(images, axis=1, keepdims=True)
    texts = np.array([(1, 0, 0), (0, 1, 0), (0, 1, 0)], float)
    gap = np.linalg.norm(images.mean(axis=0) - texts.mean(axis=0))
    assert evaluation.metrics["modality_gap"] == pytest.approx(gap, abs=1e-6)


def test_counts_and_blessing(evaluation):
    assert evaluation.counts == {
        "queries": 3,
        "pairs": 4,
        "gallery_images": 5,
        "pairs_without_image": 1,
    }
    assert evaluation.blessing.blessed
    assert evaluation.blessing.reasons == ("All 2 checks passed.",)


def test_per_query_rows(evaluation):
    rows = {(row["direction"], row["key"]): row for row in evaluation.per_query.to_pylist()}
    assert set(rows) == {
        *(("text_to_image", query) for query in ("red", "绿色", "sun")),
        *(("image_to_text", image) for image in ("red", "green", "yellow", "pink")),
    }
    sun = rows["text_to_image", "sun"]
    assert (sun["positives"], sun["best_rank"], sun["recall@1"]) == (1, 2, 0.0)
    assert rows["text_to_image", "red"]["positives"] == 2
    assert rows["image_to_text", "pink"]["language"] is None


def test_examples_and_failures(evaluation):
    examples = evaluation.section("Example queries")
    assert {example.query for example in examples.examples} == {"red", "绿色", "sun"}
    (failure,) = evaluation.section("Worst queries").examples
    assert (failure.query, failure.rank) == ("sun", 2)
    assert [(hit.image_id, hit.mark) for hit in failure.hits] == [
        ("green", ""),
        ("yellow", "correct"),
        ("pink", ""),
    ]
    red = next(example for example in examples.examples if example.query == "red")
    assert [hit.mark for hit in red.hits] == ["correct", "correct", "known"]
    shown = {hit.image_id for example in examples.examples for hit in example.shown}
    assert set(examples.thumbnails) == shown


def test_queries_protocol_and_weights(store):
    config = EvaluationConfig(
        protocol="queries",
        gain="weight",
        ks=[1],
        directions=["text_to_image"],
        slices=[],
        bootstrap={"samples": 5},
    )
    metrics = evaluate(**store, config=config).metrics
    assert metrics["recall@1"] == pytest.approx(2 / 3)
    # "red": the first image has weight 1.5, the best 2.5.
    assert metrics["ndcg@1"] == pytest.approx((1.5 / 2.5 + 1 + 0) / 3)
    assert not any(key.endswith(("/mean", "/image_to_text")) for key in metrics)


def test_gallery_of_the_split_holds_its_clicked_images_only(store):
    config = EvaluationConfig(gallery="split", bootstrap={"samples": 5})
    evaluation = evaluate(**store, config=config)
    assert evaluation.counts["gallery_images"] == 4  # no blue


def test_interval_holds_the_value(evaluation):
    for key, interval in evaluation.intervals.items():
        assert interval.low <= evaluation.metrics[key] + 1e-12, key
        assert evaluation.metrics[key] <= interval.high + 1e-12, key


def test_unknown_threshold_is_refused_before_anything_is_encoded(store):
    config = EvaluationConfig(thresholds={"langauge=zh/recall@10": {"min": 0.1}})
    nowhere = {"text_tower": "/nowhere", "image_tower": "/nowhere"}
    with pytest.raises(UserError) as error:
        evaluate(**{**store, "members": nowhere}, config=config)
    assert str(error.value) == (
        "evaluation.thresholds: this evaluation has no metric 'langauge=zh/recall@10'; "
        "the nearest is 'language=zh/recall@10'. Received: thresholds=['langauge=zh/recall@10']"
    )


def test_pairs_of_another_store(store, make, tmp_path):
    rows = [("red", "photo-17", 1, 1.0, "test", "en")]
    make.relevance(tmp_path / "other.parquet", rows)
    arguments = {**store, "relevance_path": tmp_path / "other.parquet"}
    with pytest.raises(UserError, match=r"None of the 1 evaluated pairs .*image_id='photo-17'"):
        evaluate(**arguments, config=EvaluationConfig())


def test_towers_of_different_width(store, make, tmp_path):
    make.text_tower(tmp_path / "narrow", {"red": (1.0, 0.0)})
    with pytest.raises(UserError, match="text width=2, image width=3"):
        members = {**store["members"], "text_tower": tmp_path / "narrow"}
        evaluate(**{**store, "members": members}, config=EvaluationConfig())


def test_written_files(evaluation, tmp_path):
    out = tmp_path / "new" / "folder"
    write_evaluation(evaluation, out)
    assert sorted(file.name for file in out.iterdir()) == [
        "blessing.json",
        "intervals.json",
        "metrics.json",
        "per_query.parquet",
        "report.html",
    ]
    assert json.loads((out / "metrics.json").read_text()) == evaluation.metrics
    intervals = json.loads((out / "intervals.json").read_text())
    assert intervals["confidence"] == 0.95
    assert intervals["intervals"]["recall@1"] == list(evaluation.intervals["recall@1"])
    assert pq.read_table(out / "per_query.parquet").equals(evaluation.per_query)
    assert json.loads((out / "blessing.json").read_text())["blessed"] is True


def test_without_a_report_there_is_no_blessing(evaluation, tmp_path):
    (tmp_path / "report.html").mkdir()  # cannot be replaced by a file
    with pytest.raises(OSError):
        write_evaluation(evaluation, tmp_path)
    assert not (tmp_path / "blessing.json").exists()
    assert json.loads((tmp_path / "metrics.json").read_text())["recall@2"] == 1.0
