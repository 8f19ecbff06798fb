import math

import numpy as np
import pytest
import tensorflow as tf

from tests.harness import run_model_test
from tests.vl_models.tiny_systems import (
    TOKENIZER,
    copy_weights,
    make_batch,
    make_config,
    pair_losses,
)
from vl_models.losses.contrastive import contrastive_logits, symmetric_contrastive_loss
from vl_models.models.registry import build_model


def test_unicl_satisfies_the_model_contract(tmp_path):
    config = make_config("unicl")
    batch = make_batch(texts_per_image=2)
    run_model_test(lambda: build_model(config), batch, dim=8, tokenizer=TOKENIZER, folder=tmp_path)


def loss(model, batch):
    return float(model.losses(batch, model.forward(batch, True))["contrastive"])


def test_without_labels_it_is_clip():
    unicl = build_model(make_config("unicl"))
    clip = build_model(make_config("clip", initial_temperature=math.exp(-1.0)))
    copy_weights(unicl, clip)
    batch = make_batch() | {"label_id": tf.fill([4], -1)}
    np.testing.assert_allclose(loss(unicl, batch), loss(clip, batch), rtol=1e-6)
    labelled = batch | {"label_id": tf.zeros([4], tf.int32)}
    outputs = unicl.forward(labelled, True)
    logits = contrastive_logits(
        outputs["image_embedding"], outputs["text_embedding"], unicl.logit_scale()
    )
    of_one_class = symmetric_contrastive_loss(logits, tf.ones([4, 4], tf.bool))
    np.testing.assert_allclose(loss(unicl, labelled), of_one_class, rtol=1e-6)
    assert loss(clip, labelled) == loss(clip, batch)


def test_targets_are_the_labels_and_nothing_else_without_keys(golden):
    model = build_model(make_config("unicl"))
    labels = tf.constant(golden["unicl"]["y"], tf.int32) - 1
    random = np.random.default_rng(0)
    image, text = (
        tf.math.l2_normalize(tf.constant(random.normal(size=(5, 4)), tf.float32), axis=1)
        for _ in range(2)
    )
    found = pair_losses(model, {"label_id": labels}, image, text)["contrastive"]
    logits = contrastive_logits(image, text, model.logit_scale())
    targets = tf.constant(golden["unicl"]["targets"]) > 0
    np.testing.assert_allclose(found, symmetric_contrastive_loss(logits, targets), rtol=1e-6)


def test_duplicated_rows_of_a_class_are_positives_never_negatives():
    model = build_model(make_config("unicl"))
    one = tf.math.l2_normalize(tf.constant([[1.0, 2.0], [2.0, -1.0]]), axis=1)
    twice = tf.repeat(one, 2, axis=0)
    labels = {"label_id": tf.constant([0, 0, 1, 1])}
    single = pair_losses(model, {"label_id": tf.constant([0, 1])}, one, one)["contrastive"]
    double = pair_losses(model, labels, twice, twice)["contrastive"]
    # Twice as many candidates of equal logits: only the logarithm's term changes.
    np.testing.assert_allclose(double, single + np.log(2.0), rtol=1e-5)


def test_scale_starts_as_released():
    np.testing.assert_allclose(build_model(make_config("unicl")).logit_scale(), math.e, rtol=1e-6)


@pytest.mark.parametrize("texts_per_image", [1, 3])
def test_all_rows_of_one_label_and_equal_embeddings_lose_ln_of_the_candidates(texts_per_image):
    model = build_model(make_config("unicl"))
    rows, texts = 4, 4 * texts_per_image
    same = tf.one_hot([0] * texts, 3)
    found = pair_losses(model, {"label_id": tf.zeros([rows], tf.int32)}, same[:rows], same)
    expected = (np.log(texts) + np.log(rows)) / 2
    np.testing.assert_allclose(found["contrastive"], expected, rtol=1e-6)
