import numpy as np
import pytest
import tensorflow as tf

from tests.harness import run_layer_test
from vl_models.layers.multiway_block import MultiwayBlock
from vl_models.layers.transformer_block import TransformerBlock

X = tf.constant(np.random.default_rng(0).normal(size=(2, 5, 8)), tf.float32)
EXPERTS = ("text", "image", "pair")


class AllTextBlock(MultiwayBlock):
    """A block whose tokens all go to one expert, for the layer's contract."""

    def call(self, inputs, **options):
        return super().call(inputs, routes=[("text", 5)], **options)


@pytest.mark.parametrize("layer_scale", [0.1, None])
def test_layer_contract(layer_scale, tmp_path):
    arguments = {"heads": 2, "experts": ("text",), "layer_scale": layer_scale}
    run_layer_test(AllTextBlock, arguments, [X], folder=tmp_path, output_shape=X.shape)


def gradients(block, routes):
    values = [variable.value for variable in block.trainable_variables]
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.square(block(X, routes=routes)))
    found = tape.gradient(loss, values)
    return {v.path: g for v, g in zip(block.trainable_variables, found)}


@pytest.mark.parametrize(
    ("routes", "used"),
    [
        ([("text", 5)], {"text"}),
        ([("image", 5)], {"image"}),
        ([("text", 2), ("image", 3)], {"text", "image"}),
        ([("pair", 5)], {"pair"}),
    ],
)
def test_a_modality_reaches_its_own_expert_and_the_shared_attention(routes, used):
    block = MultiwayBlock(2, EXPERTS, name="block")
    for path, gradient in gradients(block, routes).items():
        expert = path.split("/")[1].split("_")[0]
        expected = expert in used if expert in EXPERTS else True
        assert (gradient is not None) == expected, path
        if gradient is not None and "key" not in path:
            assert np.abs(gradient).max() > 0, path


def test_equal_experts_are_a_plain_pre_norm_block():
    block = MultiwayBlock(2, ("text", "image"), layer_scale=None, name="block")
    block(X, routes=[("text", 5)])
    text, image = block.mlps["text"], block.mlps["image"]
    for one, other in zip(text, image):
        other.set_weights(one.get_weights())
    plain = TransformerBlock(2, epsilon=1e-6, name="plain")
    plain(X)
    attention = block.attention
    zeros = np.zeros(8, np.float32)
    attention.query_bias.assign(np.arange(8.0) / 8)
    attention.value_bias.assign(np.arange(8.0) / 4)
    biases = np.concatenate([attention.query_bias, zeros, attention.value_bias])
    plain.attention.qkv.set_weights([attention.qkv.kernel, biases])
    plain.attention.output_projection.set_weights(attention.output_projection.get_weights())
    plain.attention_norm.set_weights(block.attention_norm.get_weights())
    norm, hidden, output = text
    plain.mlp_norm.set_weights(norm.get_weights())
    plain.mlp_hidden.set_weights(hidden.get_weights())
    plain.mlp_output.set_weights(output.get_weights())
    split = block(X, routes=[("text", 2), ("image", 3)])
    np.testing.assert_allclose(split, plain(X), atol=1e-5)


def test_layer_scale_multiplies_the_branches():
    block = MultiwayBlock(2, ("text",), layer_scale=0.0, name="block")
    np.testing.assert_array_equal(block(X, routes=[("text", 5)]), X)


def test_residual_kernels_start_smaller_with_depth():
    first, eighth = (
        MultiwayBlock(2, ("text",), place=place, name=f"block_{place}") for place in (1, 8)
    )
    wide = tf.zeros((1, 2, 128))
    for block, expected in ((first, 0.02 / 2**0.5), (eighth, 0.02 / 4.0)):
        block(wide, routes=[("text", 2)])
        for kernel in (block.attention.output_projection.kernel, block.mlps["text"][2].kernel):
            np.testing.assert_allclose(np.std(kernel), expected, rtol=0.05)


def test_drop_path_leaves_rows_by_their_seeds():
    block = MultiwayBlock(2, ("text",), drop_path=0.5, name="block")
    rows = tf.tile(X[:1], [64, 1, 1])
    seeds = tf.reshape(tf.range(128), [64, 2])
    options = {"routes": [("text", 5)], "seeds": seeds}
    dropped = block(rows, training=True, **options)
    unchanged = np.all(dropped == rows, axis=(1, 2))
    assert 4 <= unchanged.sum() <= 32  # a quarter skips both branches
    np.testing.assert_array_equal(dropped, block(rows, training=True, **options))
    np.testing.assert_array_equal(block(rows, **options)[0], block(rows, **options)[1])
