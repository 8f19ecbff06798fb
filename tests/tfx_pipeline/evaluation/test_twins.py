"""Twins in closed form: images of two halves, whose twin has them exchanged."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from PIL import Image

from tests.tfx_pipeline.evaluation.conftest import (
    save_image_tower,
    save_text_tower,
    write_gallery,
    write_relevance,
)
from tfx_pipeline.data.items import find_items
from tfx_pipeline.evaluation.config import EvaluationConfig
from tfx_pipeline.evaluation.evaluators import evaluate
from tfx_pipeline.evaluation.metric_keys import lower_is_better
from vl_models.errors import UserError

RED, BLUE, GREEN = (255, 0, 0), (0, 0, 255), (0, 255, 0)
SCENES = {"rb": (RED, BLUE), "br": (BLUE, RED), "gb": (GREEN, BLUE), "bg": (BLUE, GREEN)}
TWINS = {"rb": "br", "br": "rb", "gb": "bg", "bg": "gb"}
CLICKS = [
    ("red left", "rb", 1, 1.0, "test", "en"),
    ("green right", "bg", 1, 1.0, "test", "en"),
    ("blue left", "br", 1, 1.0, "test", "en"),
    ("both", "gb", 1, 1.0, "test", "en"),  # true of the twin, too
    ("both", "bg", 1, 1.0, "train", "en"),
]
WORDS = {row[0]: (1, 1, 1) for row in CLICKS}


def halves(left, right):
    picture = Image.new("RGB", (8, 4), left)
    picture.paste(right, (4, 0, 8, 4))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def save_reranker(path):
    """Likes red and green on the left, whatever the query: right of two of three queries."""

    class Reranker(tf.Module):
        @tf.function(
            input_signature=[
                tf.TensorSpec([None], tf.string, name="query"),
                tf.TensorSpec([None], tf.string, name="image_bytes"),
            ]
        )
        def score(self, query, image_bytes):
            left = tf.map_fn(
                lambda one: tf.io.decode_png(one, channels=3)[0, 0, :2],
                image_bytes,
                fn_output_signature=tf.uint8,
            )
            score = tf.reduce_max(tf.cast(left, tf.float32), axis=-1)
            return {"score": tf.where(query == "blue left", -score, score)}

    module = Reranker()
    tf.saved_model.save(module, str(path), signatures={"score": module.score})


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    root = tmp_path_factory.mktemp("scenes")
    save_text_tower(root / "text", WORDS)
    save_image_tower(root / "image")
    save_reranker(root / "reranker")
    write_gallery(root / "gallery", {name: halves(*colors) for name, colors in SCENES.items()})
    write_relevance(root / "relevance.parquet", CLICKS)
    table = {"id": list(TWINS), "twin": list(TWINS.values()), "relation": ["left"] * 4}
    pq.write_table(pa.table(table), root / "items.parquet")
    return {
        "members": {
            "text_tower": root / "text",
            "image_tower": root / "image",
            "reranker": root / "reranker",
        },
        "gallery_dir": root / "gallery",
        "relevance_path": root / "relevance.parquet",
        "items_path": find_items(root),
    }


def options(**changes):
    return EvaluationConfig(ks=[1], bootstrap={"samples": 50}, **changes)


def test_who_sees_no_place_wins_half(scenes):
    found = evaluate(**scenes, config=options(evaluators=["twins"]))
    assert found.counts == {"twin_pairs": 3}  # "both" is right of either
    assert found.metrics == {
        "twin_wins": pytest.approx(0.5),  # mean colours are equal: ties
        "rerank/twin_wins": pytest.approx(1 / 3),  # "green right"
        "rerank/twin_wins_difference": pytest.approx(1 / 3 - 0.5),
    }
    assert tuple(found.intervals["twin_wins"]) == (0.5, 0.5)
    low, high = found.intervals["rerank/twin_wins_difference"]
    assert -0.5 <= low < high <= 0.5
    rows = {row["key"]: row["rerank/twin_wins"] for row in found.per_query.to_pylist()}
    assert rows == {"red left": 0.0, "green right": 1.0, "blue left": 0.0}
    assert lower_is_better("rerank/twin_wins") and lower_is_better("twin_wins")


def test_it_runs_where_there_are_twins(scenes):
    assert "rerank/twin_wins" in evaluate(**scenes, config=options()).metrics
    without = {**scenes, "items_path": None}
    assert "twin_wins" not in evaluate(**without, config=options()).metrics
    with pytest.raises(UserError, match="twins needs clicks, a table of items with twins, and to"):
        evaluate(**without, config=options(evaluators=["twins"]))


def test_a_reranker_alone_is_compared_with_nothing(scenes):
    members = {"reranker": scenes["members"]["reranker"]}
    found = evaluate(**{**scenes, "members": members}, config=options(evaluators=["twins"]))
    assert found.metrics == {"rerank/twin_wins": pytest.approx(1 / 3)}


def test_no_pair_gives_no_number(scenes, tmp_path):
    write_relevance(tmp_path / "both.parquet", CLICKS[3:])
    data = {**scenes, "relevance_path": tmp_path / "both.parquet"}
    found = evaluate(**data, config=options(evaluators=["twins"]))
    assert np.isnan(found.metrics["twin_wins"]) and found.counts == {"twin_pairs": 0}
