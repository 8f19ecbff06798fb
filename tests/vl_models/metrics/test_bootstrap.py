import numpy as np
import pytest

from vl_models.metrics.bootstrap import (
    median_draws,
    percentile_interval,
    ratio_draws,
    resampled_counts,
)


def test_every_resample_draws_as_many_queries_as_there_are():
    counts = np.concatenate(list(resampled_counts(50, 200, seed=1)))
    assert counts.shape == (200, 50)
    np.testing.assert_array_equal(counts.sum(axis=1), 50)
    assert counts.var() == pytest.approx(1 - 1 / 50, rel=0.05)  # multinomial


def test_same_seed_same_draws():
    totals, counts = np.arange(12.0).reshape(6, 2), np.ones((6, 2))
    first, second, other = (ratio_draws(totals, counts, 20, seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, second)
    assert (first != other).any()


def test_draws_are_ratios_of_resampled_sums():
    generator = np.random.default_rng(0)
    totals, counts = generator.random((9, 1)), generator.integers(1, 4, (9, 1)).astype(float)
    weights = np.concatenate(list(resampled_counts(9, 30, seed=5)))
    expected = (weights @ totals) / (weights @ counts)
    np.testing.assert_allclose(ratio_draws(totals, counts, 30, seed=5), expected)


def test_interval_has_the_width_of_the_central_limit_theorem():
    generator = np.random.default_rng(0)
    values = generator.normal(size=(400, 1))
    low, high = percentile_interval(ratio_draws(values, np.ones_like(values), 4000))
    half_width = 1.96 * values.std() / 20
    assert (high - low) / 2 == pytest.approx(half_width, rel=0.06)
    assert (high + low) / 2 == pytest.approx(values.mean(), abs=0.1 * half_width)


def test_coverage():
    generator = np.random.default_rng(7)
    covered = 0
    for trial in range(400):
        hits = (generator.random((80, 1)) < 0.3).astype(float)
        interval = percentile_interval(ratio_draws(hits, np.ones_like(hits), 300, trial), 0.9)
        covered += interval.low <= 0.3 <= interval.high
    # 90 % nominal; the percentile interval of 80 binary values is a little short.
    assert 0.85 <= covered / 400 <= 0.94


def test_resampling_queries_is_wider_than_resampling_their_pairs():
    # Ten equal pairs per query carry the information of one.
    generator = np.random.default_rng(1)
    hits = (generator.random(60) < 0.5).astype(float)
    clustered = percentile_interval(ratio_draws(hits[:, None] * 10, np.full((60, 1), 10.0)))
    as_pairs = np.repeat(hits, 10)[:, None]
    independent = percentile_interval(ratio_draws(as_pairs, np.ones_like(as_pairs)))
    ratio = (clustered.high - clustered.low) / (independent.high - independent.low)
    assert ratio == pytest.approx(10**0.5, rel=0.15)


def test_median_draws_equal_medians_of_the_repeated_items():
    generator = np.random.default_rng(2)
    query, rank = generator.integers(7, size=20), generator.integers(1, 99, size=20)
    draws = median_draws(query, rank, 7, samples=40, seed=9)
    weights = np.concatenate(list(resampled_counts(7, 40, seed=9))).astype(int)
    expected = [np.median(np.repeat(rank, weight[query])) for weight in weights]
    np.testing.assert_array_equal(draws, expected)


def test_no_items_give_no_interval():
    draws = median_draws(np.zeros(0, int), np.zeros(0, int), 3, samples=5)
    assert np.isnan(draws).all()
    assert np.isnan(percentile_interval(draws)).all()
