import numpy as np
import tensorflow as tf

from tests.harness import run_layer_test
from vl_models.layers.masked_mean import masked_mean
from vl_models.layers.transformer_pooling import TransformerPooling

VECTORS = np.random.default_rng(0).normal(size=(2, 5, 8)).astype(np.float32)
MASK = np.array([[True, True, True, False, False], [True] * 5])


def test_layer_contract(tmp_path):
    run_layer_test(
        TransformerPooling,
        {"depth": 2, "heads": 2, "mlp_ratio": 2.0},
        [VECTORS, MASK],
        folder=tmp_path,
        output_shape=(2, 8),
    )


def test_masked_mean_counts_what_the_mask_leaves():
    expected = [VECTORS[0, :3].mean(axis=0), VECTORS[1].mean(axis=0)]
    np.testing.assert_allclose(masked_mean(VECTORS, MASK), expected, atol=1e-6)
    np.testing.assert_array_equal(masked_mean(VECTORS, np.zeros_like(MASK)), np.zeros([2, 8]))


def test_equal_vectors_pool_to_the_same_whatever_the_padding():
    layer = TransformerPooling(2, 2)
    equal = tf.repeat(VECTORS[:, :1], 5, axis=1)
    full = layer(equal)
    np.testing.assert_allclose(layer(equal, MASK), full, atol=1e-5)


def test_padding_changes_nothing():
    layer = TransformerPooling(2, 2)
    changed = VECTORS.copy()
    changed[0, 3:] = 9.0
    np.testing.assert_allclose(layer(changed, MASK), layer(VECTORS, MASK), atol=1e-6)


def test_vectors_enter_with_unit_length():
    layer = TransformerPooling(1, 2)
    lengths = np.array([0.5, 1.0, 2.0, 3.0, 10.0], np.float32)[None, :, None]
    np.testing.assert_allclose(layer(VECTORS * lengths), layer(VECTORS), atol=1e-5)
