import numpy as np
import pytest
import tensorflow as tf

from tests.harness import run_layer_test
from vl_models.encoders.feature_encoder import FeatureEncoder

INPUTS = np.random.default_rng(0).normal(3.0, 2.0, size=(4, 5)).astype(np.float32)
SEEDS = tf.constant([[1, 2], [3, 4], [5, 6], [7, 8]])


@pytest.mark.parametrize("hidden", [(), (6, 3)])
def test_layer_contract(hidden, tmp_path):
    width = (5, *hidden)[-1]
    run_layer_test(
        FeatureEncoder,
        {"hidden_widths": hidden},
        [INPUTS],
        folder=tmp_path,
        output_shape={"hidden": (4, 1, width), "tokens": (4, 1, width), "pooled": (4, width)},
    )


def test_features_are_standardised_by_what_it_was_adapted_to():
    encoder = FeatureEncoder(name="encoder")
    np.testing.assert_array_equal(encoder(INPUTS)["pooled"], INPUTS)
    encoder.adapt(INPUTS.mean(axis=0), INPUTS.std(axis=0))
    found = encoder(INPUTS)["pooled"].numpy()
    np.testing.assert_allclose(found.mean(axis=0), 0.0, atol=1e-6)
    np.testing.assert_allclose(found.std(axis=0), 1.0, rtol=1e-5)
    raw = FeatureEncoder(standardize=False)
    raw(INPUTS)
    raw.adapt(INPUTS.mean(axis=0), INPUTS.std(axis=0))
    np.testing.assert_array_equal(raw(INPUTS)["pooled"], INPUTS)


def test_a_feature_that_never_varied_is_only_centred():
    encoder = FeatureEncoder()
    encoder(INPUTS)
    encoder.adapt(np.ones(5), np.array([0.0, 1.0, 1.0, 1e-9, 2.0]))
    found = encoder(INPUTS)["pooled"].numpy()
    np.testing.assert_allclose(found, (INPUTS - 1.0) / [1, 1, 1, 1, 2], rtol=1e-6)


def test_units_are_dropped_by_the_seed_of_the_row_and_the_mean_stays():
    encoder = FeatureEncoder((4000,), "linear", dropout=0.25)
    whole = encoder(INPUTS, SEEDS, training=False)["pooled"].numpy()
    dropped = encoder(INPUTS, SEEDS, training=True)["pooled"].numpy()
    kept = dropped != 0
    assert kept.mean() == pytest.approx(0.75, abs=0.02)
    np.testing.assert_allclose(dropped[kept], whole[kept] / 0.75, rtol=1e-5)
    alone = encoder(INPUTS[2:3], SEEDS[2:3], training=True)["pooled"].numpy()
    # Units near zero are differences of numbers of order one.
    np.testing.assert_allclose(alone, dropped[2:3], rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="Dropout draws by the rows' `seeds`"):
        encoder(INPUTS, training=True)


def test_features_are_dropped_by_streams_of_their_own():
    encoder = FeatureEncoder((), "linear", input_dropout=0.5)
    features = tf.ones([64, 100])
    seeds = tf.range(128, dtype=tf.int32)[:, None] * tf.ones([1, 2], tf.int32)
    dropped = encoder(features, seeds[:64], training=True)["pooled"].numpy()
    assert set(np.unique(dropped)) == {0.0, 2.0}
    assert (dropped != 0).mean() == pytest.approx(0.5, abs=0.03)
    np.testing.assert_array_equal(encoder(features, training=False)["pooled"], features)
