"""Which evaluators run, and what several yield together."""

import typing

import numpy as np
import pytest
import tensorflow as tf

from tfx_pipeline.evaluation.config import EvaluationConfig, EvaluatorName
from tfx_pipeline.evaluation.evaluators import EVALUATORS, evaluate
from tfx_pipeline.evaluation.write import write_evaluation
from vl_models.errors import UserError

# The towers take "sun" for green; this reranker knows that it is yellow, and not what "绿色" is.
_SUN = {"red": (1, 0, 0), "sun": (1, 1, 0), "sea": (0, 0, 1)}


def save_reranker(path, tokens=False):
    """Scores by how near an image's mean colour is to that of a known word."""
    queries = tf.TensorSpec([None], tf.string, name="query")
    images = tf.TensorSpec([None], tf.string, name="image_bytes")

    class Reranker(tf.Module):
        def __init__(self):
            super().__init__()
            self.vectors = tf.Variable([*_SUN.values(), (0.5, 0.5, 0.5)], dtype=tf.float32)
            rows = tf.lookup.KeyValueTensorInitializer(list(_SUN), tf.range(len(_SUN)))
            self.table = tf.lookup.StaticHashTable(rows, default_value=len(_SUN))

        def colors(self, image_bytes):
            return tf.map_fn(
                lambda encoded: tf.reduce_mean(
                    tf.cast(tf.io.decode_png(encoded, channels=3), tf.float32), axis=[0, 1]
                ),
                image_bytes,
                fn_output_signature=tf.TensorSpec([3], tf.float32),
            )

        @tf.function(input_signature=[queries, images])
        def score(self, query, image_bytes):
            wanted = 255.0 * tf.gather(self.vectors, self.table.lookup(query))
            return {"score": -tf.norm(self.colors(image_bytes) - wanted, axis=-1)}

        @tf.function(input_signature=[images])
        def encode_image_tokens(self, image_bytes):
            return {"tokens": tf.cast(self.colors(image_bytes), tf.float16)[:, None]}

        @tf.function(input_signature=[queries, tf.TensorSpec([None, 1, 3], tf.float16, "tokens")])
        def score_tokens(self, query, tokens):
            wanted = 255.0 * tf.gather(self.vectors, self.table.lookup(query))
            return {"score": -tf.norm(tf.cast(tokens[:, 0], tf.float32) - wanted, axis=-1)}

    reranker = Reranker()
    names = ("score", *(("encode_image_tokens", "score_tokens") if tokens else ()))
    signatures = {name: getattr(reranker, name) for name in names}
    tf.saved_model.save(reranker, str(path), signatures=signatures)


@pytest.fixture(scope="module")
def reranked(store, tmp_path_factory):
    """The store with a reranker beside the towers."""
    path = tmp_path_factory.mktemp("reranker") / "reranker"
    save_reranker(path)
    return {**store, "members": {**store["members"], "reranker": path}}


def options(**changes):
    values = {"ks": [1, 2], "bootstrap": {"samples": 10}, "batch_size": 3, **changes}
    return EvaluationConfig(**values, report={"projection": "pca"})


def test_the_names_of_the_configuration_are_those_of_the_table():
    assert typing.get_args(EvaluatorName) == tuple(EVALUATORS)


def test_a_reranker_turns_the_first_images_of_the_towers_round(reranked):
    found = evaluate(**reranked, config=options())
    # Towers: red 1st, pink 1st (known ones are out), green 1st, "sun" 2nd.
    assert found.metrics["recall@1"] == pytest.approx(3 / 4)
    # Reranker: "sun" finds yellow; for "绿色" it knows nothing, and grey is nearest to pink.
    ranks = {"red": [1, 1], "sun": [1], "绿色": [rank_of_green()]}
    first = np.mean([rank == 1 for rows in ranks.values() for rank in rows])
    assert found.metrics["rerank/recall@1"] == pytest.approx(first)
    assert found.counts["candidates"] == 5  # all of the gallery: 32 are configured
    low, high = found.intervals["rerank/recall@1"]
    assert low <= found.metrics["rerank/recall@1"] <= high
    rows = found.per_query.to_pylist()
    mine = {row["key"]: row["best_rank"] for row in rows if row["direction"] == "rerank"}
    assert mine == {"red": 1, "sun": 1, "绿色": rank_of_green()}


def rank_of_green():
    colors = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}
    colors |= {"yellow": (255, 255, 0), "pink": (255, 128, 128)}
    grey = np.full(3, 127.5)
    distance = {name: np.linalg.norm(np.array(rgb) - grey) for name, rgb in colors.items()}
    # Ties stand above the positive.
    return sum(value <= distance["green"] + 1e-3 for name, value in distance.items())


def test_what_is_no_candidate_follows_in_the_order_of_the_towers(reranked):
    one = evaluate(**reranked, config=options(rerank={"candidates": 1}))
    for name in ("recall@1", "recall@2", "mrr", "map@all"):
        assert one.metrics[f"rerank/{name}"] == pytest.approx(one.metrics[name])
    two = evaluate(**reranked, config=options(rerank={"candidates": 2}))
    assert two.counts["candidates"] == 2
    assert two.metrics["rerank/recall@2"] == pytest.approx(two.metrics["recall@2"])
    # The reranker puts yellow first for "sun", and has green and yellow tied for "绿色".
    rows = two.per_query.to_pylist()
    mine = {row["key"]: row["best_rank"] for row in rows if row["direction"] == "rerank"}
    assert mine == {"red": 1, "sun": 1, "绿色": 2}


def test_a_chosen_evaluator_runs_alone(reranked, tmp_path):
    found = evaluate(**reranked, config=options(evaluators=["rerank"]))
    names = [key.partition("/")[2] if "=" in key else key for key in found.metrics]
    assert all(name.startswith("rerank/") for name in names)
    write_evaluation(found, tmp_path)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<h2>Reranking, text to image</h2>" in page and "<h2>Retrieval</h2>" not in page


def test_images_are_measured_beside_the_towers_if_asked_for(store):
    assert "knn@20/accuracy" not in evaluate(**store, config=options()).metrics
    found = evaluate(**store, config=options(evaluators=["retrieval", "images"]))
    assert np.isnan(found.metrics["knn@20/accuracy"]) and found.metrics["recall@1"] > 0


def test_what_does_not_fit_is_said(store):
    with pytest.raises(UserError) as error:
        evaluate(**store, config=options(evaluators=["retrieval", "rerank"]))
    assert str(error.value) == (
        "evaluate.evaluators: rerank needs reranker and clicks. "
        "Received: members=['image_tower', 'text_tower']"
    )
    with pytest.raises(UserError, match=r"Nothing can be measured: retrieval needs text_tower, im"):
        evaluate({}, options(), gallery_dir=store["gallery_dir"])


def test_without_towers_a_large_gallery_is_refused(reranked, monkeypatch):
    members = {"reranker": reranked["members"]["reranker"]}
    found = evaluate(**{**reranked, "members": members}, config=options())
    assert found.counts["candidates"] == 5
    monkeypatch.setattr("tfx_pipeline.evaluation.candidates._LARGEST_GALLERY", 4)
    with pytest.raises(UserError, match=r"5 images are too many \(at most 4\). Release text_tower"):
        evaluate(**{**reranked, "members": members}, config=options())
