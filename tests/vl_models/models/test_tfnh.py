import math

import keras
import numpy as np
import pydantic
import pytest
import tensorflow as tf

from tests.harness import run_model_test
from tests.vl_models.models.feature_batch import (
    CLASSES,
    IMAGE_WIDTH,
    TEXT_WIDTH,
    feature_batch,
)
from tests.vl_models.models.test_ucal import gradients
from vl_models.errors import UserError
from vl_models.hashing import sign, unpack
from vl_models.models.registry import build_model
from vl_models.models.tfnh_config import TFNHConfig

SMALL = {
    "embedding_dim": 8,
    "hidden_widths": [7, 6],
    "dropout": 0.0,
    "image": {"kind": "features", "width": IMAGE_WIDTH},
    "text": {"kind": "features", "width": TEXT_WIDTH},
    "num_labels": CLASSES,
}


def make(**options):
    return build_model(TFNHConfig.model_validate({**SMALL, **options}))


def test_contract():
    run_model_test(lambda: make(dropout=0.5), feature_batch(), dim=8)


def test_the_text_half_of_the_network_does_not_matter_to_images():
    model, batch = make(), feature_batch()
    before = model.encode_image(batch).numpy()
    [kernel] = [v for v in model.fusion.variables if v.path == "fusion/dense_0/kernel"]
    changed = kernel.numpy()
    changed[IMAGE_WIDTH:] += 1.0
    kernel.assign(changed)
    np.testing.assert_array_equal(model.encode_image(batch), before)
    assert not np.allclose(model.encode_text(batch), model.encode_text(feature_batch(seed=1)))


def test_streams_share_their_weights():
    model, batch = make(), feature_batch()
    zeros = {**batch, "text_features": tf.zeros_like(batch["text_features"])}
    outputs = model.forward(zeros, True)
    # A pair whose text is the mean text is an image alone.
    np.testing.assert_allclose(outputs["paired_code"], outputs["image_code"], rtol=1e-6)


def test_a_batch_of_one_modality_makes_one_stream():
    model, batch = make(), feature_batch()
    images = {key: value for key, value in batch.items() if key != "text_features"}
    outputs = model.forward(images, True)
    assert outputs.keys() == {"image_code", "image_embedding"}
    assert model.losses(images, outputs).keys() == {"label", "graph"}


def test_losses_by_hand():
    model, batch = make(adversarial_weight=3.0), feature_batch()
    for classifier in model.data_classifiers.values():
        for variable in classifier.variables:
            variable.assign(tf.zeros_like(variable))
    outputs = model.forward(batch, True)
    losses = model.losses(batch, outputs)
    assert float(losses["data_classifiers"]) == pytest.approx(3.0 * 2 * math.log(2), rel=1e-6)
    y = batch["label"].numpy()
    label = [
        0.5 * np.square(model.label_classifier(outputs[f"{side}_code"]) - y).sum(axis=1).mean()
        for side in ("paired", "image", "text")
    ]
    assert float(losses["label"]) == pytest.approx(np.mean(label), rel=1e-5)
    f, w = outputs["paired_code"].numpy(), y @ y.T
    laplacian = np.diag(w.sum(axis=1)) - w
    paired = 0.1 * np.trace(f.T @ laplacian @ f) / 36
    model.config = model.config.model_copy(update={"graph_weights": (0.1, 0.0, 0.0)})
    assert float(model.losses(batch, outputs)["graph"]) == pytest.approx(paired / 3, rel=1e-4)


def test_the_fusion_network_works_against_the_data_classifiers():
    batch = feature_batch()
    found = {}
    for strength in (0.0, 1.0):
        keras.utils.set_random_seed(1)
        model = make(reversal={"kind": "constant", "maximum": strength})
        found[strength] = gradients(model, batch, ["data_classifiers"])
    for path in found[1.0]:
        if "data_classifier" in path:
            np.testing.assert_allclose(found[0.0][path], found[1.0][path], rtol=1e-5)
        elif path.startswith(("fusion", "hash_layer")):
            assert not found[0.0][path].any() and found[1.0][path].any()


def test_dropout_is_of_the_row_and_not_of_the_batch():
    model, batch = make(dropout=0.5), feature_batch()
    batch["seed"] = tf.reshape(tf.range(12), [6, 2])
    whole = model.forward(batch, True)["paired_code"].numpy()
    half = {key: value[3:] for key, value in batch.items()}
    np.testing.assert_allclose(model.forward(half, True)["paired_code"], whole[3:], rtol=1e-5)
    assert not np.allclose(whole, model.forward(batch, False)["paired_code"])


def test_codes_are_signs():
    model, batch = make(), feature_batch()
    code = model.forward(batch, False)["text_code"]
    np.testing.assert_array_equal(unpack(model.hash_text(batch).numpy()), sign(code))


def test_wrong_use_is_refused():
    with pytest.raises(pydantic.ValidationError, match="a multiple of 8"):
        make(embedding_dim=12)
    with pytest.raises(pydantic.ValidationError, match="no hidden layers here"):
        make(image={"kind": "features", "width": 3, "hidden_widths": [4]})
    with pytest.raises(UserError, match="System 'tfnh' learns from classes"):
        make(num_labels=None)
    with pytest.raises(UserError, match="one text per image"):
        make().forward(feature_batch(texts=2), True)


def test_cross_entropy_of_labels():
    batch, model = feature_batch(), make(label_loss="cross_entropy")
    outputs = model.forward(batch, training=False)
    expected = 0.0
    for side in ("paired", "image", "text"):
        scores = model.label_classifier(outputs[f"{side}_code"]).numpy().astype(np.float64)
        probabilities = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
        own = probabilities[np.arange(len(scores)), batch["label_id"].numpy()]
        expected += -np.log(own).mean() / 3
    assert model.losses(batch, outputs)["label"].numpy() == pytest.approx(expected, rel=1e-5)
