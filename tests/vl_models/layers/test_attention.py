import numpy as np
import pytest
import tensorflow as tf

from tests.harness import run_layer_test
from vl_models.layers.attention import SelfAttention, dot_product_attention


def normal(*shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


INPUTS = normal(2, 5, 8)


@pytest.mark.parametrize("causal", [False, True])
def test_layer_contract(causal, tmp_path):
    arguments = {"heads": 2, "causal": causal}
    run_layer_test(SelfAttention, arguments, [INPUTS], folder=tmp_path, output_shape=(2, 5, 8))


def test_equal_keys_average_the_values():
    query, value = normal(2, 1, 2, 3, 4)
    attended = dot_product_attention(query, tf.ones_like(query), value)
    np.testing.assert_allclose(
        attended, np.broadcast_to(value.mean(2, keepdims=True), value.shape), atol=1e-6
    )


def test_bias_selects_a_key():
    query, key, value = normal(3, 1, 1, 2, 4)
    bias = tf.constant([[0.0, 100.0], [100.0, 0.0]])
    attended = dot_product_attention(query, key, value, bias=bias)
    np.testing.assert_allclose(attended, value[:, :, ::-1], atol=1e-5)


def test_agrees_with_the_softmax_formula():
    layer = SelfAttention(2)
    outputs = layer(INPUTS)
    kernel, bias, output_kernel, output_bias = layer.get_weights()
    query, key, value = np.split(INPUTS @ kernel + bias, 3, axis=-1)
    heads = []
    for columns in (slice(0, 4), slice(4, 8)):
        logits = query[..., columns] @ key[..., columns].transpose(0, 2, 1) / 2.0
        weights = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
        heads.append(weights @ value[..., columns])
    expected = np.concatenate(heads, -1) @ output_kernel + output_bias
    np.testing.assert_allclose(outputs, expected, atol=1e-5)


def test_masked_keys_change_nothing():
    layer = SelfAttention(2)
    mask = tf.constant([[True, True, True, False, False]] * 2)
    changed = INPUTS.copy()
    changed[:, 3:] = 100.0
    np.testing.assert_array_equal(
        layer(INPUTS, key_mask=mask)[:, :3], layer(changed, key_mask=mask)[:, :3]
    )


def test_a_fully_masked_row_is_finite():
    layer = SelfAttention(2)
    assert np.all(np.isfinite(layer(INPUTS, key_mask=tf.zeros([2, 5], tf.bool))))


def test_causal_positions_do_not_see_later_ones():
    layer = SelfAttention(2, causal=True)
    changed = INPUTS.copy()
    changed[:, 3:] += 1.0
    before, after = layer(INPUTS), layer(changed)
    np.testing.assert_array_equal(before[:, :3], after[:, :3])
    assert not np.array_equal(before[:, 3:], after[:, 3:])


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match="Received: width=8, heads=3"):
        SelfAttention(3)(INPUTS)
