import numpy as np
import pytest

from tfx_pipeline.data.config import PropensityConfig
from tfx_pipeline.data.propensity import (
    check_estimable,
    click_weights,
    estimate_propensities,
    given_propensities,
)
from vl_models.errors import UserError


def test_given_propensities_are_powers_of_the_position():
    config = PropensityConfig(mode="given", eta=0.5, max_positions=4)
    np.testing.assert_allclose(given_propensities(config), [1, 2**-0.5, 3**-0.5, 0.5])
    listed = PropensityConfig(mode="given", values=(1.0, 0.3))
    np.testing.assert_array_equal(given_propensities(listed), [1.0, 0.3])


def test_weights_are_clipped_inverse_propensities():
    weights = click_weights(np.array([0, 1, 2, 3, 9]), np.array([1.0, 0.5, 0.05]), clip=10)
    np.testing.assert_allclose(weights, [1, 1, 2, 10, 10])
    np.testing.assert_array_equal(click_weights(np.array([1, 7]), None, clip=10), [1, 1])


def simulate(theta, pairs, shown, seed):
    rng = np.random.default_rng(seed)
    pair = np.repeat(np.arange(pairs), len(theta))
    position = np.tile(np.arange(1, len(theta) + 1), pairs)
    gamma = rng.beta(1, 3, pairs)
    impressions = np.full(len(pair), shown)
    clicks = rng.binomial(impressions, gamma[pair] * theta[position - 1])
    return pair, position, clicks, impressions


def test_the_estimate_recovers_the_propensities_of_a_simulated_log():
    theta = 1.0 / np.arange(1, 11) ** 0.8
    estimate = estimate_propensities(*simulate(theta, 3000, 30, seed=1))
    np.testing.assert_allclose(estimate, theta, rtol=0.06)


def test_the_estimate_does_not_take_relevance_for_position():
    # Pairs at the top are three times as attractive: click rates alone would be far off.
    theta = np.array([1.0, 0.5])
    rng = np.random.default_rng(2)
    gamma = np.where(np.arange(4000) < 2000, 0.6, 0.2)
    pair = np.repeat(np.arange(4000), 2)
    position = np.tile([1, 2], 4000)
    top = np.repeat(np.arange(4000) < 2000, 2)
    impressions = np.where((position == 1) == top, 40, 4)
    clicks = rng.binomial(impressions, gamma[pair] * theta[position - 1])
    rates = [clicks[position == k].sum() / impressions[position == k].sum() for k in (1, 2)]
    assert rates[1] / rates[0] < 0.3
    estimate = estimate_propensities(pair, position, clicks, impressions)
    np.testing.assert_allclose(estimate, theta, rtol=0.05)


def test_the_order_of_rows_does_not_matter():
    rows = simulate(np.array([1.0, 0.6, 0.3]), 200, 20, seed=3)
    order = np.random.default_rng(0).permutation(len(rows[0]))
    np.testing.assert_allclose(
        estimate_propensities(*rows), estimate_propensities(*(column[order] for column in rows))
    )


def test_positions_without_data_take_the_value_before_them():
    pair, position, clicks, impressions = simulate(np.array([1.0, 0.5, 0.4]), 500, 50, seed=4)
    position = np.where(position == 3, 5, position)
    estimate = estimate_propensities(pair, position, clicks, impressions)
    assert len(estimate) == 5
    assert estimate[0] == 1
    assert estimate[1] == estimate[2] == estimate[3]


@pytest.mark.parametrize("position", [0, 1])
def test_a_log_that_tells_nothing_gives_ones(position):
    ones = np.ones(3, np.int64)
    estimate = estimate_propensities(np.arange(3), position * ones, ones, ones)
    np.testing.assert_array_equal(estimate, [1.0])


@pytest.mark.parametrize(
    ("counters", "message"),
    [
        ({}, "needs the column `position`, which no accepted row has"),
        ({"rows_with_position": 3, "skips_with_position": 0}, "Add `impressions` to rows with"),
    ],
)
def test_a_log_that_tells_nothing_about_positions_is_refused(counters, message):
    with pytest.raises(UserError, match=message) as error:
        check_estimable(counters)
    assert str(error.value).endswith(
        "or set `propensity: {mode: given, eta: 1}` or `{mode: none}` in data.yaml."
    )
    check_estimable({"rows_with_position": 3, "skips_with_position": 1})
