import math

import numpy as np
import pytest
import tensorflow as tf

from tests.vl_models.fusion_systems import (
    VOCABULARY,
    gradients_of,
    make_batch,
    texts_alone,
    vilt,
    vlmo,
)
from vl_models.errors import UserError

MLM = [{"kind": "mlm"}]


@pytest.fixture(scope="module")
def model():
    return vlmo(tasks=MLM)


def test_only_inner_tokens_are_guessed(model):
    batch = make_batch(rows=32)
    outputs = model.forward(batch, training=True)
    targets = np.asarray(outputs["mlm_targets"])
    assert outputs["mlm_logits"].shape == (len(targets), VOCABULARY)
    assert np.all(targets >= 5)
    assert len(targets) >= 32


def test_a_head_that_knows_nothing_loses_the_logarithm_of_the_vocabulary(model):
    batch = make_batch()
    outputs = model.forward(batch, training=True)
    flat = {**outputs, "mlm_logits": tf.zeros_like(outputs["mlm_logits"])}
    np.testing.assert_allclose(model.losses(batch, flat)["mlm"], math.log(VOCABULARY), rtol=1e-6)


def test_the_image_is_in_view_and_texts_alone_do_without(model):
    batch = make_batch()
    outputs = model.forward(batch, training=False)
    other = model.forward({**batch, "image": 255 - batch["image"]}, training=False)
    np.testing.assert_array_equal(outputs["mlm_targets"], other["mlm_targets"])
    assert np.abs(outputs["mlm_logits"] - other["mlm_logits"]).max() > 1e-6
    alone = model.forward(texts_alone(batch), training=False)
    np.testing.assert_array_equal(alone["mlm_targets"], outputs["mlm_targets"])


def test_texts_alone_reach_their_own_experts_up_to_the_top(model):
    found = gradients_of(model, texts_alone(make_batch()), "mlm")
    for path, gradient in found.items():
        if any(part in path for part in ("image", "pair_", "pooler")):
            assert gradient is None or not np.any(gradient), path
    assert np.any(found["encoder/block_3/text_mlp_hidden/kernel"])


def test_the_same_seeds_hide_the_same_words(model):
    batch = make_batch(rows=16)
    first, second = (model.forward(batch, training=True) for _ in range(2))
    np.testing.assert_array_equal(first["mlm_targets"], second["mlm_targets"])
    other = {**batch, "seed": batch["seed"] + 1}
    third = model.forward(other, training=True)["mlm_targets"]
    assert third.shape != first["mlm_targets"].shape or np.any(third != first["mlm_targets"])


def test_a_vocabulary_without_mask_token_is_refused():
    with pytest.raises(UserError, match=r"mlm needs a vocabulary with a mask token"):
        vilt(tasks=MLM, mask_id=None)
