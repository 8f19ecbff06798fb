import numpy as np
import tensorflow as tf

from tests.harness import run_layer_test
from vl_models.layers.layer_norm import LayerNorm

INPUTS = np.random.default_rng(0).normal(3.0, 2.0, (2, 5, 8)).astype(np.float32)


def test_layer_contract(tmp_path):
    run_layer_test(LayerNorm, {"epsilon": 1e-6}, [INPUTS], folder=tmp_path, output_shape=(2, 5, 8))


def test_closed_form_with_the_given_epsilon():
    layer = LayerNorm(epsilon=0.1)
    layer.build((None, 5, 8))
    layer.set_weights([np.full(8, 2.0), np.full(8, 0.5)])
    centred = INPUTS - INPUTS.mean(-1, keepdims=True)
    expected = 2.0 * centred / np.sqrt(INPUTS.var(-1, keepdims=True) + 0.1) + 0.5
    np.testing.assert_allclose(layer(INPUTS), expected, atol=1e-5)


def test_statistics_are_float32_under_mixed_precision():
    # In bfloat16 the differences of these inputs would vanish.
    x = tf.cast(tf.constant([[256.0, 258.0]]), tf.bfloat16)
    layer = LayerNorm(dtype="mixed_bfloat16")
    np.testing.assert_allclose(tf.cast(layer(x), tf.float32), [[-1.0, 1.0]], atol=1e-3)
    assert {variable.dtype for variable in layer.variables} == {"float32"}
