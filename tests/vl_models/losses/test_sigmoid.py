import numpy as np
import pytest
import tensorflow as tf

from vl_models.losses.sigmoid import pairwise_sigmoid_sums

PAIRS = tf.eye(2, dtype=tf.bool)
LOGITS = np.array([[2.0, -1.0], [0.5, 3.0]], np.float32)


def sigmoid_loss(matches):
    """Equation 1 of the paper: log(1 + exp(-z logit)), z = ±1."""
    return np.log1p(np.exp(np.where(matches, -LOGITS, LOGITS)))


def test_is_the_formula_of_the_paper():
    sums = pairwise_sigmoid_sums(tf.constant(LOGITS), PAIRS, PAIRS)
    np.testing.assert_allclose(sums, sigmoid_loss(np.eye(2, dtype=bool)).sum(0), rtol=1e-6)


def test_zero_logits_lose_ln_2_a_pair():
    sums = pairwise_sigmoid_sums(tf.zeros([5, 3]), tf.zeros([5, 3], bool), tf.zeros([5, 3], bool))
    np.testing.assert_allclose(sums, [5 * np.log(2)] * 3, rtol=1e-6)


def test_the_published_start_loses_about_the_bias_per_pair():
    # cos = 0, bias -10: a positive costs 10, each negative next to nothing.
    sums = pairwise_sigmoid_sums(tf.fill([4, 4], -10.0), tf.eye(4) > 0, tf.eye(4) > 0)
    np.testing.assert_allclose(sums, [10.0 + 4 * np.log1p(np.exp(-10.0))] * 4, rtol=1e-6)


def test_modes_say_what_a_known_click_beside_the_pairs_is():
    known = tf.constant([[True, True], [False, True]])
    loss = sigmoid_loss(np.eye(2, dtype=bool))
    as_pairs = pairwise_sigmoid_sums(tf.constant(LOGITS), known, PAIRS, mode="pairs")
    np.testing.assert_allclose(as_pairs, loss.sum(0), rtol=1e-6)
    hidden = pairwise_sigmoid_sums(tf.constant(LOGITS), known, PAIRS, mode="hide")
    np.testing.assert_allclose(hidden, [loss[:, 0].sum(), loss[1, 1]], rtol=1e-6)
    uniform = pairwise_sigmoid_sums(tf.constant(LOGITS), known, PAIRS, mode="uniform")
    np.testing.assert_allclose(uniform, sigmoid_loss(known.numpy()).sum(0), rtol=1e-6)


def test_unknown_mode_is_named():
    with pytest.raises(ValueError, match="Received: mode='all'"):
        pairwise_sigmoid_sums(tf.zeros([2, 2]), PAIRS, PAIRS, mode="all")
