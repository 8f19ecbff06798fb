import numpy as np
import tensorflow as tf

from vl_models.losses.negatives import draw_negatives, draw_several, half_of, partly_even

ROWS = 4000
SEEDS = tf.constant(np.random.default_rng(0).integers(0, 2**31 - 1, (ROWS, 2)), tf.int32)


def test_hard_negatives_follow_the_softmax_of_what_is_allowed():
    logits = tf.tile(tf.constant([[2.0, 1.0, 0.0, -1.0]]), [ROWS, 1])
    forbidden = tf.tile(tf.constant([[True, False, False, False]]), [ROWS, 1])
    drawn, found = draw_negatives(logits, forbidden, SEEDS)
    shares = np.bincount(drawn, minlength=4) / ROWS
    expected = np.exp([1.0, 0.0, -1.0]) / np.exp([1.0, 0.0, -1.0]).sum()
    assert shares[0] == 0.0 and np.all(found)
    np.testing.assert_allclose(shares[1:], expected, atol=0.03)


def test_a_part_of_them_is_drawn_evenly():
    logits = tf.constant([[5.0, 1.0, 0.0, -1.0]])
    forbidden = tf.constant([[True, False, False, False]])
    softmax = np.exp([1.0, 0.0, -1.0]) / np.exp([1.0, 0.0, -1.0]).sum()
    mixed = np.exp(partly_even(logits, forbidden, 0.25))[0, 1:]
    np.testing.assert_allclose(mixed, 0.25 * softmax + 0.75 / 3, rtol=1e-6)
    whole = np.exp(partly_even(logits, forbidden, 1.0))[0, 1:]
    np.testing.assert_allclose(whole, softmax, rtol=1e-6)


def test_a_draw_depends_on_its_own_row_alone_and_has_no_gradient():
    logits = tf.Variable(tf.random.stateless_normal((ROWS, 8), seed=(1, 2)))
    forbidden = tf.zeros((ROWS, 8), tf.bool)
    with tf.GradientTape() as tape:
        drawn, _ = draw_negatives(logits, forbidden, SEEDS)
        total = tf.reduce_sum(tf.gather(tf.ones(8), drawn))
    assert tape.gradient(total, logits) is None
    alone, _ = draw_negatives(logits[5:9], forbidden[5:9], SEEDS[5:9])
    np.testing.assert_array_equal(alone, drawn[5:9])


def test_a_row_without_a_candidate_says_so():
    _, found = draw_negatives(
        tf.zeros((2, 3)), tf.constant([[True] * 3, [True, True, False]]), SEEDS[:2]
    )
    np.testing.assert_array_equal(found, [False, True])


def test_several_are_drawn_evenly_without_replacement():
    forbidden = tf.tile(tf.constant([[True] + [False] * 5]), [ROWS, 1])
    drawn, found = draw_several(forbidden, SEEDS, 3)
    assert np.all(found)
    assert all(len(set(row)) == 3 for row in drawn.numpy())
    shares = np.bincount(drawn.numpy().ravel(), minlength=6) / ROWS
    np.testing.assert_allclose(shares, [0.0] + [0.6] * 5, atol=0.03)
    _, found = draw_several(forbidden[:2], SEEDS[:2], 6)
    np.testing.assert_array_equal(np.sum(found, axis=1), [5, 5])


def test_several_by_logits_are_drawn_one_after_the_other():
    logits = tf.tile(tf.constant([[2.0, 1.0, 0.0, 9.0]]), [ROWS, 1])
    forbidden = tf.tile(tf.constant([[False, False, False, True]]), [ROWS, 1])
    drawn, found = draw_several(forbidden, SEEDS, 2, logits)
    assert np.all(found) and 3 not in drawn.numpy()
    weight = np.exp([2.0, 1.0, 0.0])
    first = weight / weight.sum()
    np.testing.assert_allclose(np.bincount(drawn[:, 0], minlength=3) / ROWS, first, atol=0.03)
    second = [
        sum(first[j] * weight[i] / (weight.sum() - weight[j]) for j in range(3) if j != i)
        for i in range(3)
    ]
    np.testing.assert_allclose(np.bincount(drawn[:, 1], minlength=3) / ROWS, second, atol=0.03)


def test_exactly_half_of_the_rows():
    for size in (6, 7):
        chosen = half_of(tf.random.stateless_uniform([size], seed=(1, size)))
        assert np.sum(chosen) == (size + 1) // 2
    np.testing.assert_array_equal(half_of(tf.constant([0.9, 0.1, 0.5, 0.2])), [0, 1, 0, 1])
