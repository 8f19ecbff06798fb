import numpy as np
import tensorflow as tf

from vl_models.training.sampling import draw_texts, row_seed, stream_seed


def draws(weights, count, trials, uniform=False):
    """[trials, count] draws of one image in as many epochs."""

    def one(epoch):
        seed = row_seed(7, epoch, tf.constant(3, tf.int64))
        return draw_texts(tf.constant(weights), count, stream_seed(seed, 2), uniform)

    epochs = tf.data.Dataset.range(trials).map(one, num_parallel_calls=2).batch(trials)
    return next(epochs.as_numpy_iterator())


def chi_square(observed, expected):
    return float(np.sum((observed - expected) ** 2 / expected))


def test_single_draws_follow_the_weights():
    weights = np.array([1.0, 2.0, 3.0, 4.0], np.float32)
    counts = np.bincount(draws(weights, 1, 4000)[:, 0], minlength=4)
    assert chi_square(counts, 4000 * weights / 10) < 16.3  # p = 0.001, 3 degrees of freedom


def test_uniform_draws_ignore_the_weights():
    counts = np.bincount(draws([1.0, 2.0, 3.0, 4.0], 1, 4000, uniform=True)[:, 0], minlength=4)
    assert chi_square(counts, np.full(4, 1000.0)) < 16.3


def test_pairs_are_drawn_without_replacement_in_the_right_proportion():
    weights = np.array([1.0, 2.0, 5.0])
    pairs = draws(weights.astype(np.float32), 2, 4000)
    assert np.all(pairs[:, 0] != pairs[:, 1])
    shares = weights / weights.sum()
    observed, expected = [], []
    for a in range(3):
        for b in set(range(3)) - {a}:
            observed.append(np.sum((pairs == [a, b]).all(axis=1)))
            expected.append(4000 * shares[a] * shares[b] / (1 - shares[a]))
    assert chi_square(np.array(observed), np.array(expected)) < 20.5  # 5 degrees of freedom


def test_texts_of_weight_zero_come_last_and_few_texts_repeat():
    drawn = draws([0.0, 1.0], 4, 50)
    np.testing.assert_array_equal(drawn, np.tile([1, 0, 1, 0], (50, 1)))


def test_row_seeds_are_stable_and_differ():
    def seed(run, epoch, row):
        values = row_seed(run, tf.constant(epoch, tf.int64), tf.constant(row, tf.int64))
        return tuple(values.numpy().tolist())

    grid = [(run, epoch, row) for run in (0, 1) for epoch in (0, 1) for row in (0, 1, 2**32)]
    seeds = {seed(*place) for place in grid}
    assert len(seeds) == 12
    assert seeds == {seed(*place) for place in grid}
    assert stream_seed(tf.constant([1, 2]), 1).numpy().tolist() != [1, 2]
