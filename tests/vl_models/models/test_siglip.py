import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tests.harness import run_model_test
from tests.vl_models.tiny_systems import TOKENIZER, make_batch, make_config, pair_losses
from vl_models.input.config import DataFacts
from vl_models.models.registry import build_model


@pytest.mark.parametrize("changes", [{}, {"positives": "hide", "weigh_queries": True}])
def test_siglip_satisfies_the_model_contract(changes, tmp_path):
    config = make_config("siglip", **changes)
    batch = make_batch(texts_per_image=2)
    run_model_test(lambda: build_model(config), batch, dim=8, tokenizer=TOKENIZER, folder=tmp_path)


def test_two_orthogonal_pairs_at_the_published_start():
    model = build_model(make_config("siglip"))
    loss = pair_losses(model, {}, tf.eye(2), tf.eye(2))["sigmoid"]
    # Matches have the logit 10 - 10 = 0, the others -10.
    np.testing.assert_allclose(loss, np.log(2.0) + np.log1p(np.exp(-10.0)), rtol=1e-5)


def test_every_pair_counts_by_itself():
    # Unlike a softmax's, the loss of a batch of two unrelated halves is the mean of theirs
    # plus what the pairs across cost.
    model = build_model(make_config("siglip", initial_bias=0.0, positives="pairs"))
    random = np.random.default_rng(1)
    image, text = (
        tf.math.l2_normalize(tf.constant(random.normal(size=(4, 5)), tf.float32), axis=1)
        for _ in range(2)
    )

    def loss(rows, columns):
        return float(pair_losses(model, {}, image[rows], text[columns])["sigmoid"])

    whole = loss(slice(4), slice(4))
    halves = (loss(slice(2), slice(2)) + loss(slice(2, 4), slice(2, 4))) / 2
    logits = 10.0 * tf.matmul(image, text, transpose_b=True)
    across = tf.reduce_sum(tf.nn.softplus(logits[:2, 2:])) + tf.reduce_sum(
        tf.nn.softplus(logits[2:, :2])
    )
    np.testing.assert_allclose(whole, halves + float(across) / 4, rtol=1e-5)


def test_the_bias_of_a_training_is_that_of_its_batch():
    config = make_config("siglip")
    assert config.initial_bias is None
    facts = DataFacts(vocabulary_size=9, global_batch=128)
    completed = config.completed(facts)
    assert completed.initial_bias == pytest.approx(-np.log(127))
    assert completed.vocabulary_size == 9
    assert config.completed(dataclasses.replace(facts, global_batch=1)).initial_bias == 0.0
    published = make_config("siglip", initial_bias=-10.0)
    assert published.completed(facts).initial_bias == -10.0

    # One of the four pairs of a text matches: so much is expected of a pair of cosine 0.
    model = build_model(config.completed(DataFacts(global_batch=4)))
    assert float(tf.sigmoid(model.bias.value())) == pytest.approx(1 / 4)
    assert build_model(completed).get_config()["initial_bias"] == completed.initial_bias


def test_bias_is_learned_and_logged():
    model = build_model(make_config("siglip"))
    np.testing.assert_allclose(model.scalars()["logit_bias"], -10.0)
    assert "logit_bias/bias" in {variable.path for variable in model.trainable_variables}
