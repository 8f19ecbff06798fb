import math

import numpy as np
import pytest
import tensorflow as tf

from tests.harness import run_model_test
from tests.vl_models.models.feature_batch import SIDES, feature_batch
from vl_models.models.registry import build_model
from vl_models.models.ucal_config import UCALConfig


def make(**options):
    return build_model(UCALConfig.model_validate({**SIDES, "embedding_dim": 4, **options}))


def gradients(model, batch, names):
    """Of the sum of the named losses, by the path of the variable; 0 where there is none."""
    with tf.GradientTape() as tape:
        losses = model.losses(batch, model.forward(batch, True))
        total = tf.add_n([losses[name] for name in names])
    found = tape.gradient(total, [v.value for v in model.trainable_variables])
    return {
        v.path: np.zeros(v.shape) if g is None else g.numpy()
        for v, g in zip(model.trainable_variables, found)
    }


@pytest.mark.parametrize("texts", [1, 2])
def test_contract(texts):
    run_model_test(make, feature_batch(texts=texts), dim=4)


def test_pair_distance_in_both_forms():
    batch = feature_batch()
    for form in ("frobenius", "mean_square"):
        model = make(pair_distance=form, pair_weight=2.0)
        outputs = model.forward(batch, True)
        difference = (outputs["image_vector"] - outputs["text_vector"]).numpy()
        expected = {
            "frobenius": np.linalg.norm(difference),
            "mean_square": np.square(difference).sum(axis=1).mean(),
        }
        loss = float(model.losses(batch, outputs)["pair_distance"])
        assert loss == pytest.approx(2.0 * expected[form], rel=1e-5)


def test_an_adversary_without_preference_costs_two_ln_two():
    model = make()
    for variable in model.tasks[0].classifier.variables:
        variable.assign(tf.zeros_like(variable))
    batch = feature_batch()
    losses = model.losses(batch, model.forward(batch, True))
    assert float(losses["modality_adversary"]) == pytest.approx(0.05 * 2 * math.log(2), rel=1e-6)


def test_the_towers_ascend_what_the_classifier_descends():
    batch = feature_batch()
    model = make()
    found = {}
    for strength in (0.0, 0.5, 1.0):
        model.tasks[0].reversal.schedule = type(model.tasks[0].reversal.schedule)(
            kind="constant", maximum=strength
        )
        found[strength] = gradients(model, batch, ["modality_adversary"])
    for path in found[1.0]:
        if path.startswith("modality_classifier"):
            assert np.abs(found[1.0][path]).max() > 0
            np.testing.assert_allclose(found[0.0][path], found[1.0][path], rtol=1e-5)
        else:
            assert not found[0.0][path].any(), path
            np.testing.assert_allclose(found[0.5][path], 0.5 * found[1.0][path], rtol=1e-5)
    # Against the plain gradient: the sign flips, nothing else.
    with tf.GradientTape() as tape:
        outputs = model.forward(batch, True)
        scores = [model.tasks[0].classifier(outputs[f"{s}_vector"]) for s in ("image", "text")]
        loss = tf.add_n(
            [
                tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits([m] * 6, s))
                for m, s in enumerate(scores)
            ]
        )
    kernel = model.image_projection.trainable_variables[0]
    plain = tape.gradient(loss, kernel.value).numpy()
    np.testing.assert_allclose(found[1.0][kernel.path], -0.05 * plain, rtol=1e-4, atol=1e-8)


def test_one_modality_alone_has_no_pairs_but_an_adversary():
    batch = feature_batch()
    images = {key: value for key, value in batch.items() if key != "text_features"}
    model = make()
    outputs = model.forward(images, True)
    assert outputs.keys() == {"image_vector", "image_embedding"}
    assert model.losses(images, outputs).keys() == {"modality_adversary"}


def test_instances_drive_lambda_and_the_accuracy_is_measured():
    model, batch = make(), feature_batch()
    model.before_training(24)
    for _ in range(2):
        model.after_step(batch, model.forward(batch, True))
    scalars = model.scalars()
    strength = 2 / (1 + math.exp(-10 * 12 / 24)) - 1
    assert float(scalars["modality_adversary/lambda"]) == pytest.approx(strength, abs=1e-6)
    assert 0.0 <= float(scalars["modality_adversary/accuracy"]) <= 1.0
