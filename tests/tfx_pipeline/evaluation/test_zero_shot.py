import json

import numpy as np
import pytest
import tensorflow as tf

from tfx_pipeline.evaluation.attention import attention_maps
from tfx_pipeline.evaluation.config import EvaluationConfig
from tfx_pipeline.evaluation.evaluators import evaluate
from tfx_pipeline.evaluation.zero_shot import read_setup
from vl_models.errors import UserError
from vl_models.export import ZERO_SHOT_ASSET
from vl_models.zero_shot import ZeroShotClassifier, class_embeddings

CLASSES = {
    "red": (1, 0, 0),
    "绿色": (0, 1, 0),
    "blue": (0, 0, 1),
    "yellow": (1, 1, 0),
    "cyan": (0, 1, 1),
    "grey": (1, 1, 1),
}
TEMPLATES = ("{}", "much {}")
LIGHTER = np.array([0.3, 0.1, 0.0])  # what "much" adds
IMAGES = {
    "red": (255, 0, 0),
    "green": (0, 255, 0),
    "orange": (255, 150, 0),
    "pink": (255, 128, 128),
    "navy": (0, 10, 90),
    "snow": (250, 255, 255),
}
LABELS = {
    "red": ("red",),
    "green": ("绿色",),
    "orange": ("yellow",),
    "pink": ("blue", "red"),
    "navy": ("blue", "unheard of"),
    "snow": ("unheard of",),
}
CLICKS = [
    ("red", "red", 5, 1.5, "test", "en"),
    ("绿色", "green", 3, 3.0, "test", "zh"),
    ("blue", "navy", 1, 1.0, "test", "en"),
    ("blue", "pink", 9, 1.0, "train", "en"),
    ("grey", "plain", 1, 1.0, "test", "en"),
]


def unit(rows):
    rows = np.asarray(rows, np.float64)
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def texts(shift=0):
    """Every filled template with its vector; shifted, a class takes another one's colour."""
    colors = np.roll(np.array(list(CLASSES.values()), float), shift, axis=0)
    return {
        template.replace("{}", name): tuple(color + LIGHTER * template.startswith("much"))
        for name, color in zip(CLASSES, colors)
        for template in TEMPLATES
    }


def class_vectors(shift=0):
    vectors = unit(list(texts(shift).values())).reshape(len(CLASSES), 2, 3)
    return unit(vectors.mean(axis=1))


class TextTower(tf.Module):
    """Looks texts up; under the prefix "labels" the classes have each other's colours."""

    def __init__(self):
        super().__init__()
        self.vectors = tf.Variable(
            [list(texts(shift).values()) for shift in (0, 1)], dtype=tf.float32
        )
        names = list(texts())
        rows = tf.lookup.KeyValueTensorInitializer(names, tf.range(len(names)))
        self.table = tf.lookup.StaticHashTable(rows, default_value=0)

    def encode(self, query, shift):
        vectors = tf.gather(self.vectors[shift], self.table.lookup(query))
        return {"embedding": tf.math.l2_normalize(tf.cast(vectors, tf.float32), axis=-1)}

    def attend(self, query, shift):
        padding = tf.fill([tf.shape(query)[0], 1], "")
        tokens = tf.stack([tf.fill([tf.shape(query)[0]], "[p]"), query], axis=1)
        weights = tf.constant([[0.75 - 0.5 * shift, 0.25 + 0.5 * shift, 0.0]])
        return {
            "tokens": tf.concat([tokens, padding], axis=1),
            "weights": tf.tile(weights, [tf.shape(query)[0], 1]),
        }

    def signatures(self):
        spec = tf.TensorSpec([None], tf.string, name="query")
        functions = {
            "encode_text": lambda query: self.encode(query, 0),
            "encode_text_queries": lambda query: self.encode(query, 0),
            "encode_text_labels": lambda query: self.encode(query, 1),
            "text_attention_queries": lambda query: self.attend(query, 0),
            "text_attention_labels": lambda query: self.attend(query, 1),
        }
        return {n: tf.function(f).get_concrete_function(spec) for n, f in functions.items()}


def save_image_tower(path, prefix=None):
    classifier = ZeroShotClassifier(
        tuple(CLASSES), class_vectors().astype(np.float32), 10.0, 5, TEMPLATES, prefix
    )

    class ImageTower(tf.Module):
        spec = (tf.TensorSpec([None], tf.string, name="image_bytes"),)

        def embed(self, image_bytes):
            colors = tf.map_fn(
                lambda encoded: tf.reduce_mean(
                    tf.cast(tf.io.decode_png(encoded, channels=3), tf.float32), axis=[0, 1]
                ),
                image_bytes,
                fn_output_signature=tf.TensorSpec([3], tf.float32),
            )
            return tf.math.l2_normalize(colors, axis=-1)

        @tf.function(input_signature=spec)
        def encode_image(self, image_bytes):
            return {"embedding": self.embed(image_bytes)}

        @tf.function(input_signature=spec)
        def classify_zero_shot(self, image_bytes):
            return classifier.classify(self.embed(image_bytes))

    tower = ImageTower()
    names = ("encode_image", "classify_zero_shot")
    tf.saved_model.save(tower, str(path), {name: getattr(tower, name) for name in names})
    (path / ZERO_SHOT_ASSET).parent.mkdir()
    (path / ZERO_SHOT_ASSET).write_text(json.dumps(classifier.to_json()), encoding="utf-8")


@pytest.fixture(scope="module")
def colors(tmp_path_factory, make):
    root = tmp_path_factory.mktemp("colors")
    tower = TextTower()
    tf.saved_model.save(tower, str(root / "text"), tower.signatures())
    save_image_tower(root / "image")
    images = {name: make.png(color) for name, color in {**IMAGES, "plain": (9, 9, 9)}.items()}
    make.gallery(root / "gallery", images, labels=LABELS)
    make.relevance(root / "relevance.parquet", CLICKS)
    return {
        "members": {"text_tower": root / "text", "image_tower": root / "image"},
        "gallery_dir": root / "gallery",
        "relevance_path": root / "relevance.parquet",
    }


@pytest.fixture(scope="module")
def config():
    return EvaluationConfig(
        bootstrap={"samples": 50},
        batch_size=2,
        report={"projection": "pca"},
        thresholds={"prefix=labels/zero_shot/accuracy@1": {"max": 0.5}},
    )


@pytest.fixture(scope="module")
def evaluation(colors, config):
    return evaluate(**colors, config=config)


def expected_accuracy(k, shift=0):
    """Over the images with a label among the classes: all but "snow" and "plain"."""
    cosines = unit(list(IMAGES.values())) @ class_vectors(shift).T
    first = np.argsort(-cosines, axis=1)[:, :k]
    hits = [
        bool({list(CLASSES)[row] for row in rows} & set(LABELS[name]))
        for name, rows in zip(IMAGES, first)
        if set(LABELS[name]) & set(CLASSES)
    ]
    assert len(hits) == 5
    return np.mean(hits)


def expected_map(shift=0):
    """Every labelled image is ranked, "snow" included, for the classes that have images."""
    cosines = class_vectors(shift) @ unit(list(IMAGES.values())).T
    precisions = []
    for name, row in zip(CLASSES, cosines):
        right = np.array([name in LABELS[image] for image in IMAGES])[np.argsort(-row)]
        if right.any():
            ranks = np.flatnonzero(right) + 1
            precisions.append(np.mean(np.arange(1, len(ranks) + 1) / ranks))
    assert len(precisions) == 4
    return np.mean(precisions)


def test_accuracy_of_the_exported_signature(evaluation):
    metrics = evaluation.metrics
    assert metrics["zero_shot/accuracy@1"] == pytest.approx(expected_accuracy(1))
    assert metrics["zero_shot/accuracy@5"] == pytest.approx(expected_accuracy(5))
    assert 0 < metrics["zero_shot/accuracy@1"] < metrics["zero_shot/accuracy@5"]


def test_search_by_class_name(evaluation):
    metrics = evaluation.metrics
    assert metrics["zero_shot/map@all/text_to_image"] == pytest.approx(expected_map())
    # One image each of "绿色" and "yellow", two of "red" and "blue", all among the first ten.
    assert metrics["zero_shot/precision@10/text_to_image"] == pytest.approx(
        (0.1 + 0.1 + 0.2 + 0.2) / 4
    )


def test_each_prefix_has_its_metrics(evaluation):
    metrics = evaluation.metrics
    for name in ("accuracy@1", "accuracy@5", "map@all/text_to_image"):
        exported = metrics[f"zero_shot/{name}"]
        assert metrics[f"prefix=queries/zero_shot/{name}"] == pytest.approx(exported)
    assert metrics["prefix=labels/zero_shot/accuracy@1"] == expected_accuracy(1, shift=1)
    assert metrics["prefix=labels/zero_shot/map@all/text_to_image"] == pytest.approx(
        expected_map(shift=1)
    )
    assert evaluation.blessing.blessed  # a threshold on a prefix is a threshold


def test_intervals_hold_the_values(evaluation):
    keys = [key for key in evaluation.metrics if "zero_shot" in key]
    assert len(keys) == 12
    for key in keys:
        low, high = evaluation.intervals[key]
        assert low - 1e-12 <= evaluation.metrics[key] <= high + 1e-12


def test_points_are_labelled(evaluation):
    sample = evaluation.section("Embedding space").sample
    assert sorted(sample.image_labels) == sorted(["", *(names[0] for names in LABELS.values())])
    # "blue" was clicked most for the pink image, in another split; "grey" for one without label.
    assert dict(zip(("red", "绿色", "blue", "grey"), sample.text_labels)) == {
        "red": "red",
        "绿色": "绿色",
        "blue": "blue",
        "grey": "",
    }
    assert evaluation.counts["labelled_images"] == 6


def test_attention_by_prefix(evaluation):
    maps = {map_.query: map_ for map_ in evaluation.section("Attention by text prefix").maps}
    assert set(maps) == {"red", "绿色", "blue", "grey"}
    labels, queries = maps["绿色"].strips
    assert (labels.prefix, queries.prefix) == ("labels", "queries")
    assert queries.tokens == ("[p]", "绿色") and queries.weights == (0.75, 0.25)
    assert labels.weights == (0.25, 0.75)
    assert maps["绿色"].language == "zh"


def test_english_and_chinese_take_turns(colors):
    queries, languages = ["red", "blue", "grey", "绿色"], ["en", "en", "de", "zh"]
    maps = attention_maps(colors["members"]["text_tower"], queries, languages, 2, seed=0)
    assert sorted(map_.language for map_ in maps) == ["en", "zh"]
    only = attention_maps(colors["members"]["text_tower"], ["grau"], ["de"], 2, seed=0)
    assert [map_.query for map_ in only] == ["grau"]


def test_without_labels_the_metrics_are_not_defined(colors, make, tmp_path):
    make.gallery(tmp_path / "gallery", {name: make.png(rgb) for name, rgb in IMAGES.items()})
    config = EvaluationConfig(
        bootstrap={"samples": 5}, thresholds={"zero_shot/accuracy@1": {"min": 0.1}}
    )
    found = evaluate(**{**colors, "gallery_dir": tmp_path / "gallery"}, config=config)
    assert np.isnan(found.metrics["zero_shot/accuracy@1"])
    assert np.isnan(found.metrics["prefix=labels/zero_shot/map@all/text_to_image"])
    assert (
        found.section("Embedding space").sample.image_labels == ()
        and "labelled_images" not in found.counts
    )
    assert found.blessing.reasons[0] == "zero_shot/accuracy@1 is not defined on this data."


def test_towers_without_classes_have_no_zero_shot_metrics(store):
    assert read_setup(*store["members"].values()) is None
    config = EvaluationConfig(thresholds={"zero_shot/accuracy@1": {"min": 0.1}})
    with pytest.raises(UserError, match="has no metric 'zero_shot/accuracy@1'"):
        evaluate(**store, config=config)


def test_accuracy_at_five_needs_more_than_five_classes(colors, tmp_path):
    (tmp_path / "assets.extra").mkdir()
    (tmp_path / "saved_model.pb").symlink_to(colors["members"]["image_tower"] / "saved_model.pb")
    content = json.loads(
        (colors["members"]["image_tower"] / ZERO_SHOT_ASSET).read_text(encoding="utf-8")
    )
    content["classes"] = content["classes"][:5]
    (tmp_path / ZERO_SHOT_ASSET).write_text(json.dumps(content), encoding="utf-8")
    assert read_setup(colors["members"]["text_tower"], tmp_path).ks == (1,)
    assert read_setup(colors["members"]["text_tower"], colors["members"]["image_tower"]).ks == (
        1,
        5,
    )


def test_the_expected_class_vectors_are_those_of_the_model_code():
    vectors = np.array(list(texts().values()))
    np.testing.assert_allclose(class_embeddings(vectors, 2), class_vectors(), atol=1e-6)
