import numpy as np
import pytest
import tensorflow as tf

from tfx_pipeline.evaluation.config import EvaluationConfig
from tfx_pipeline.evaluation.evaluators import evaluate
from tfx_pipeline.evaluation.write import write_evaluation
from vl_models.errors import UserError

pytest.importorskip("pycocoevalcap", reason="install vlsearch[captions]")

CLICKS = [
    ("red car", "red", 2, 1.0, "test", "en"),
    ("fast red car", "red", 5, 1.0, "test", "en"),
    ("红色", "pink", 1, 1.0, "test", "zh"),
    ("green tree", "green", 1, 1.0, "test", "en"),
    ("sun", "yellow", 3, 1.0, "train", "en"),
    ("bright sun", "yellow", 7, 1.0, "train", "en"),
    ("deep sea", "blue", 1, 1.0, "train", "en"),
]


def save_captioner(path):
    """Says "red car" of what is red at all, else "tree"."""

    class Captioner(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
        def caption(self, image_bytes):
            red = tf.map_fn(
                lambda encoded: tf.reduce_mean(tf.io.decode_png(encoded, 3)[..., 0]),
                image_bytes,
                fn_output_signature=tf.uint8,
            )
            score = -tf.cast(red, tf.float32)
            return {"caption": tf.where(red > 200, "red car", "tree"), "score": score}

    module = Captioner()
    tf.saved_model.save(module, str(path), signatures={"caption": module.caption})


@pytest.fixture(scope="module")
def paths(tmp_path_factory, make):
    root = tmp_path_factory.mktemp("captions")
    save_captioner(root / "captioner")
    make.text_tower(root / "text_tower")
    make.image_tower(root / "image_tower")
    make.gallery(root / "gallery", {name: make.png(color) for name, color in make.colors.items()})
    make.relevance(root / "relevance.parquet", CLICKS)
    return root


def run(paths, members=("captioner",), **changes):
    config = EvaluationConfig(
        evaluators=["captions"], bootstrap={"samples": 50}, batch_size=2, **changes
    )
    return evaluate(
        {name: paths / name for name in members},
        config,
        gallery_dir=paths / "gallery",
        relevance_path=paths / "relevance.parquet",
    )


def test_captions_are_compared_with_the_queries_of_the_split(paths):
    found = run(paths)
    rows = {row["key"]: row for row in found.per_query.to_pylist()}
    assert {name: row["caption"] for name, row in rows.items()} == {
        "red": "red car",
        "pink": "red car",
        "green": "tree",
    }
    assert rows["red"]["captions/cider"] > rows["green"]["captions/cider"] > 0.0
    assert rows["pink"]["captions/cider"] == 0.0
    assert rows["red"]["caption_score"] == -255.0
    mean = np.mean([row["captions/cider"] for row in rows.values()])
    assert found.metrics["captions/cider"] == pytest.approx(mean)
    assert found.metrics["captions/distinct"] == pytest.approx(2 / 3)
    assert found.counts == {"captioned_images": 3}
    assert "captions/nearest/cider" not in found.metrics


def test_the_caption_of_the_nearest_training_image_stands_beside_them(paths, tmp_path):
    members = ("captioner", "text_tower", "image_tower")
    found = run(paths, members, report={"queries": 3})
    own, nearest = (found.metrics[f"captions/{name}"] for name in ("cider", "nearest/cider"))
    difference = found.metrics["captions/nearest/cider_difference"]
    assert difference == pytest.approx(own - nearest)
    interval = found.intervals["captions/nearest/cider_difference"]
    assert interval.low <= difference <= interval.high
    shown = {image.image_id: image for image in found.section("Captioned images").images}
    # Yellow is as near to green as to red; its caption is its most clicked query of train.
    assert shown["green"].nearest == "bright sun"
    assert shown["red"].references == ("fast red car", "red car")
    write_evaluation(found, tmp_path)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Nearest training image: bright sun" in page and "红色" in page


def test_a_captioner_and_clicks_are_needed(paths):
    with pytest.raises(UserError, match="captions needs a captioner, clicks"):
        run(paths, ("text_tower", "image_tower"))
    with pytest.raises(
        UserError, match="no metric 'captions/cidr'; the nearest is 'captions/cider'"
    ):
        run(paths, thresholds={"captions/cidr": {"min": 1.0}})
