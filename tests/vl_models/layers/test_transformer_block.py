import numpy as np
import pytest
import tensorflow as tf

from tests.harness import run_layer_test
from vl_models.layers.transformer_block import TransformerBlock

INPUTS = np.random.default_rng(0).normal(size=(2, 5, 8)).astype(np.float32)


@pytest.mark.parametrize("pre_norm", [True, False])
def test_layer_contract(pre_norm, tmp_path):
    arguments = {"heads": 2, "pre_norm": pre_norm, "epsilon": 1e-6, "dropout": 0.1}
    run_layer_test(TransformerBlock, arguments, [INPUTS], folder=tmp_path, output_shape=(2, 5, 8))


def test_pre_norm_is_the_identity_when_the_branches_end_in_zero():
    block = TransformerBlock(2, residual_initializer="zeros")
    np.testing.assert_array_equal(block(INPUTS), INPUTS)


def test_post_norm_ends_in_a_normalisation():
    outputs = TransformerBlock(2, pre_norm=False, epsilon=1e-12)(INPUTS)
    np.testing.assert_allclose(tf.reduce_mean(outputs, -1), np.zeros((2, 5)), atol=1e-5)
    np.testing.assert_allclose(tf.math.reduce_std(outputs, -1), np.ones((2, 5)), atol=1e-4)


def test_kernels_of_equal_shape_start_differently():
    blocks = [TransformerBlock(2, mlp_ratio=1.0) for _ in range(2)]
    for block in blocks:
        block.build((None, 5, 8))
    kernels = [
        kernel.kernel.numpy()
        for block in blocks
        for kernel in (block.mlp_hidden, block.mlp_output, block.attention.output_projection)
    ]
    for index, kernel in enumerate(kernels):
        for other in kernels[index + 1 :]:
            assert not np.array_equal(kernel, other)


def test_dropout_acts_in_training_only():
    block = TransformerBlock(2, dropout=0.5)
    np.testing.assert_array_equal(block(INPUTS), block(INPUTS, training=False))
    seeds = np.array([[1, 2], [3, 4]], np.int32)
    dropped = block(INPUTS, seeds=seeds, training=True)
    assert not np.array_equal(dropped, block(INPUTS))
    np.testing.assert_array_equal(block(INPUTS, seeds=seeds, training=True), dropped)
    with pytest.raises(ValueError, match="Received: seeds=None"):
        block(INPUTS, training=True)


def test_a_dropped_path_leaves_the_row_as_it_is():
    block = TransformerBlock(2, drop_path=0.999999)
    seeds = np.array([[1, 2], [3, 4]], np.int32)
    np.testing.assert_array_equal(block(INPUTS, seeds=seeds, training=True), INPUTS)


def test_step_by_step_is_the_causal_block():
    block = TransformerBlock(2, causal=True)
    whole = block(INPUTS)
    keys = values = tf.zeros([2, 2, 5, 4])
    for place in range(5):
        one, keys, values = block.step(INPUTS[:, place : place + 1], keys, values, place)
        np.testing.assert_allclose(one[:, 0], whole[:, place], atol=1e-6)
