import json

import numpy as np
import pytest

from tests.vl_models.models.feature_batch import SIDES
from tests.vl_models.models.test_tfnh import SMALL
from tfx_pipeline.data.feature_set import FeatureSet
from tfx_pipeline.evaluation import evaluators
from tfx_pipeline.evaluation.config import EvaluationConfig
from tfx_pipeline.evaluation.write import write_evaluation
from vl_models.errors import UserError
from vl_models.export import export_members
from vl_models.hashing import hamming_distances
from vl_models.metrics.class_retrieval import class_retrieval, cosine_similarity
from vl_models.models.registry import build_model, model_config_from_dict

ROWS, CLASSES = 60, 3


def towers(folder, **config):
    model = build_model(model_config_from_dict(config))
    return model, export_members(model, None, folder)


@pytest.fixture(scope="module")
def acmr(tmp_path_factory):
    folder = tmp_path_factory.mktemp("acmr")
    return towers(folder, system="acmr", embedding_dim=4, **SIDES)


@pytest.fixture(scope="module")
def tfnh(tmp_path_factory):
    return towers(tmp_path_factory.mktemp("tfnh"), system="tfnh", **SMALL)


@pytest.fixture(scope="module")
def data():
    generator = np.random.default_rng(0)
    label = np.eye(CLASSES, dtype=bool)[generator.integers(CLASSES, size=ROWS)]
    present = np.ones(ROWS, bool)
    return FeatureSet(
        generator.normal(size=(ROWS, 6)).astype(np.float32),
        generator.normal(size=(ROWS, 5)).astype(np.float32),
        present,
        np.where(np.arange(ROWS) == 59, False, present),
        label,
        ("红", "green", "blue"),
        np.array(["train"] * 20 + ["val"] * 10 + ["test"] * 30),
        text_label=np.zeros((ROWS, 0), bool),
        text_label_names=(),
    )


def options(**changes):
    return EvaluationConfig(
        bootstrap={"samples": 20}, batch_size=7, report={"projection": "pca"}, **changes
    )


def evaluate(exported, data, **changes):
    _, paths = exported
    return evaluators.evaluate(paths, options(**changes), features=data)


def test_metrics_are_those_of_the_models_embeddings(acmr, data):
    model, _ = acmr
    found = evaluate(acmr, data, map_k=5)
    rows = np.arange(30, 59)  # the last row of the split has no text
    image = model.encode_image({"image_features": data.image[30:]}).numpy()
    text = model.encode_text({"text_features": data.text[rows]}).numpy()
    labels = data.label[30:], data.label[rows]
    i2t = class_retrieval(cosine_similarity(image, text), *labels, (None, 5))
    t2i = class_retrieval(cosine_similarity(text, image), *labels[::-1], (None, 5))
    for direction, expected in (("image_to_text", i2t), ("text_to_image", t2i)):
        for name, k in (("map@all", None), ("map@5", 5)):
            value = found.metrics[f"{name}/{direction}"]
            assert value == pytest.approx(expected.mean_average_precision(k), abs=1e-4)
            low, high = found.intervals[f"{name}/{direction}"]
            assert low <= value <= high
    mean = (found.metrics["map@all/image_to_text"] + found.metrics["map@all/text_to_image"]) / 2
    assert found.metrics["map@all/mean"] == pytest.approx(mean)
    assert found.metrics["modality_gap"] == pytest.approx(
        np.linalg.norm(image.mean(axis=0) - text.mean(axis=0)), abs=1e-5
    )
    assert 0.0 <= found.metrics["modality_classifier/accuracy"] <= 1.0
    assert found.counts == {"images": 30, "texts": 29, "classes": 3}


def test_hashing_towers_are_ranked_by_hamming_distance(tfnh, data):
    model, _ = tfnh
    found = evaluate(tfnh, data)
    image = model.hash_image({"image_features": data.image[30:]}).numpy()
    text = model.hash_text({"text_features": data.text[30:59]}).numpy()
    distances = hamming_distances(image, text)
    expected = class_retrieval(lambda rows: -distances[rows], data.label[30:], data.label[30:59])
    value = found.metrics["map@all/image_to_text"]
    assert value == pytest.approx(expected.mean_average_precision(), abs=1e-6)
    assert "float/map@all/mean" in found.metrics


def test_what_is_written_reads_well(acmr, data, tmp_path):
    write_evaluation(evaluate(acmr, data), tmp_path)
    metrics = json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8"))
    assert {"map@all/image_to_text", "map@all/text_to_image", "map@all/mean"} <= metrics.keys()
    report = (tmp_path / "report.html").read_text(encoding="utf-8")
    for text in ("map@50", "recall", "precision", "红", "30 images, 29 texts, 3 classes"):
        assert text in report


def test_features_of_one_width_are_drawn_before_and_after(data, tmp_path):
    config = {"system": "acmr", "embedding_dim": 4, "num_labels": CLASSES}
    side = {"kind": "features", "width": 6, "hidden_widths": [4]}
    exported = towers(tmp_path / "towers", **config, image=side, text=side)
    wide = FeatureSet(**{**vars(data), "text": data.image + 1.0})
    found = evaluate(exported, wide)
    space = found.section("Embedding space")
    before, after = space.before, space.sample
    assert before.images.shape == (30, 6)
    assert after.images.shape == (30, 4)
    np.testing.assert_allclose(np.linalg.norm(before.images, axis=1), 1.0, rtol=1e-5)
    assert before.image_labels == after.image_labels
    write_evaluation(found, tmp_path)
    report = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert report.index("The features that the towers read") < report.index("What the towers make")


def test_features_of_different_widths_are_standardised_and_padded(acmr, data):
    constant = data.text.copy()
    constant[:, 2] = 3.0
    found = evaluate(acmr, FeatureSet(**{**vars(data), "text": constant}))
    before = found.section("Embedding space").before
    assert before.images.shape[1] == before.texts.shape[1] == 6
    assert (before.texts[:, 5] == 0).all() and (before.images[:, 5] != 0).any()
    train = constant[:20]
    deviation = np.where(train.std(axis=0) > 0, train.std(axis=0), 1.0)
    rows = (constant[30:59] - train.mean(axis=0)) / deviation
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    np.testing.assert_allclose(before.texts[:, :5], rows, atol=1e-5)


def test_wrong_input_is_told(acmr, data):
    with pytest.raises(UserError, match="no metric 'recall@10'; the nearest is"):
        evaluate(acmr, data, thresholds={"recall@10": {"min": 0.1}})
    nothing = FeatureSet(**{**vars(data), "split": np.array(["train"] * ROWS)})
    with pytest.raises(UserError, match=r"nothing to evaluate in splits \['test'\].*'train': 60"):
        evaluate(acmr, nothing)
    unlabelled = FeatureSet(**{**vars(data), "label": np.zeros((ROWS, 0), bool)})
    with pytest.raises(UserError, match="The data have no labels"):
        evaluate(acmr, unlabelled)
