import numpy as np
import pytest
import tensorflow as tf

from tests.harness import run_layer_test
from vl_models.layers.attentional_pooler import AttentionalPooler

X = np.random.default_rng(0).normal(size=(2, 5, 6)).astype(np.float32)
ARGUMENTS = {"queries": 3, "width": 8, "heads": 2}


@pytest.mark.parametrize("residual", [True, False])
def test_layer_contract(residual, tmp_path):
    arguments = {**ARGUMENTS, "residual": residual}
    run_layer_test(AttentionalPooler, arguments, [X], folder=tmp_path, output_shape=(2, 3, 8))


def test_without_residual_an_idle_attention_gives_its_bias_alone():
    layer = AttentionalPooler(**ARGUMENTS, residual=False)
    layer.build(X.shape)
    layer.attention.output_projection.kernel.assign(tf.zeros([8, 8]))
    layer.attention.output_projection.bias.assign(tf.range(8.0))
    np.testing.assert_allclose(layer(X), np.tile(np.arange(8.0), (2, 3, 1)))


def test_order_of_tokens_and_what_is_masked_change_nothing():
    layer = AttentionalPooler(**ARGUMENTS)
    mask = tf.constant([[True] * 4 + [False]] * 2)
    pooled = layer(X, mask)
    changed = X.copy()
    changed[:, 4] = 100.0
    np.testing.assert_allclose(layer(changed, mask), pooled, atol=1e-6)
    turned = np.concatenate([X[:, 3::-1], X[:, 4:]], axis=1)
    np.testing.assert_allclose(layer(turned, mask), pooled, atol=1e-5)
