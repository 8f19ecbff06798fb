import numpy as np
import pytest
import tensorflow as tf

from vl_models.layers.row_dropout import drop_path, drop_units

SEEDS = tf.constant(np.random.default_rng(0).integers(-(2**31), 2**31, (400, 2)), tf.int32)


def test_units_are_dropped_at_the_rate_and_the_mean_stays():
    dropped = drop_units(tf.ones([400, 5, 10]), 0.25, SEEDS, 3).numpy()
    values, counts = np.unique(dropped, return_counts=True)
    np.testing.assert_allclose(values, [0.0, 1.0 / 0.75], rtol=1e-6)
    # 20,000 draws: four standard deviations.
    assert counts[0] / dropped.size == pytest.approx(0.25, abs=4 * (0.25 * 0.75 / 20_000) ** 0.5)


def test_paths_are_dropped_by_row():
    dropped = drop_path(tf.ones([400, 5, 10]), 0.25, SEEDS, 3).numpy().reshape(400, -1)
    assert np.all(dropped == dropped[:, :1])
    share = float(np.mean(dropped[:, 0] == 0.0))
    assert share == pytest.approx(0.25, abs=4 * (0.25 * 0.75 / 400) ** 0.5)


def test_a_row_draws_the_same_in_any_batch_and_another_in_another_stream():
    x = tf.ones([400, 50])
    whole = drop_units(x, 0.5, SEEDS, 0).numpy()
    np.testing.assert_array_equal(drop_units(x[7:9], 0.5, SEEDS[7:9], 0), whole[7:9])
    other = drop_units(x, 0.5, SEEDS, 1).numpy()
    assert np.mean(whole == other) == pytest.approx(0.5, abs=0.05)


def test_nothing_is_dropped_at_rate_zero_and_seeds_are_needed_above():
    x = tf.ones([2, 3])
    assert drop_units(x, 0.0, None, 0) is x and drop_path(x, 0.0, None, 0) is x
    for drop in (drop_units, drop_path):
        with pytest.raises(ValueError, match="Received: seeds=None"):
            drop(x, 0.5, None, 0)
