import numpy as np
import tensorflow as tf

from vl_models.input.sampling import draw_texts, row_seed
from vl_models.row_random import stream_seed


def seeds_of(rows, run=7, epoch=0):
    return row_seed(run, tf.constant(epoch, tf.int64), tf.constant(rows, tf.int64))


def draws(weights, count, trials, power=1.0):
    """[trials, count] draws of as many images with the same texts."""
    seeds = stream_seed(seeds_of(range(trials)), 2)
    lengths = tf.fill([trials], len(weights))
    return draw_texts(tf.tile([weights], [trials, 1]), lengths, count, seeds, power).numpy()


def chi_square(observed, expected):
    return float(np.sum((observed - expected) ** 2 / expected))


def test_single_draws_follow_the_weights():
    weights = np.array([1.0, 2.0, 3.0, 4.0], np.float32)
    counts = np.bincount(draws(weights, 1, 4000)[:, 0], minlength=4)
    assert chi_square(counts, 4000 * weights / 10) < 16.3  # p = 0.001, 3 degrees of freedom


def test_draws_follow_the_power_of_the_weights():
    weights = np.array([1.0, 4.0, 9.0, 16.0], np.float32)
    counts = np.bincount(draws(weights, 1, 4000, power=0.5)[:, 0], minlength=4)
    assert chi_square(counts, 4000 * np.sqrt(weights) / 10) < 16.3
    counts = np.bincount(draws(weights, 1, 4000, power=0.0)[:, 0], minlength=4)
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


def test_draws_of_an_image_depend_neither_on_the_batch_nor_on_padding():
    weights = [[1.0, 2.0, 0.5, 3.0], [2.0, 1.0], [5.0]]
    lengths = [len(row) for row in weights]
    padded = tf.ragged.constant(weights).to_tensor(9.0, shape=[3, 6])
    for epoch in range(10):
        seeds = seeds_of([0, 1, 2], epoch=epoch)
        together = draw_texts(padded, lengths, 5, seeds, 1.0).numpy()
        for row, own in enumerate(weights):
            alone = draw_texts(tf.constant([own]), [len(own)], 5, seeds[row : row + 1], 1.0)
            np.testing.assert_array_equal(together[row], alone[0])
            assert set(together[row]) == set(range(len(own)))


def test_row_seeds_are_stable_and_differ():
    rows = [0, 1, 2**32, 2**32 + 1]
    grid = [(run, epoch) for run in (-1, 0, 1) for epoch in (0, 1)]

    def all_seeds():
        return [tuple(seed) for place in grid for seed in seeds_of(rows, *place).numpy().tolist()]

    assert len(set(all_seeds())) == 24
    assert all_seeds() == all_seeds()
    own = seeds_of(rows)
    streams = tf.concat([own, stream_seed(own, 1), stream_seed(own, 2)], 0)
    assert len({tuple(seed) for seed in streams.numpy().tolist()}) == 12


def test_seeds_are_those_of_split_mix():
    def split_mix(state, index):
        """The reference implementation in Python's integers."""
        bits = (state + 0x9E3779B97F4A7C15 * (index + 1)) % 2**64
        bits = (bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        bits = (bits ^ (bits >> 27)) * 0x94D049BB133111EB % 2**64
        return bits ^ (bits >> 31)

    assert split_mix(0, 0) == 0xE220A8397B1DCDAF  # the first number from 0, as published
    expected = split_mix(split_mix(split_mix(7, 0), 3), 2**32 + 5)
    seed = seeds_of([2**32 + 5], run=7, epoch=3).numpy().view(np.uint64)
    assert seed.tolist() == [[expected]]


def test_bits_of_the_seeds_are_fair_and_independent():
    bits = np.unpackbits(seeds_of(range(20000)).numpy().view(np.uint8), axis=1).astype(float)
    deviations = np.abs(bits.mean(axis=0) - 0.5) * 2 * np.sqrt(20000)
    assert deviations.max() < 4.5  # 64 standard normals
    correlations = np.corrcoef(bits.T) - np.eye(64)
    assert np.abs(correlations).max() * np.sqrt(20000) < 5.5  # 2016 standard normals
