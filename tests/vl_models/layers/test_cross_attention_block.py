import numpy as np

from tests.harness import run_layer_test
from vl_models.layers.cross_attention_block import CrossAttentionBlock

RANDOM = np.random.default_rng(0)
INPUTS = RANDOM.normal(size=(2, 5, 8)).astype(np.float32)
CONTEXT = RANDOM.normal(size=(2, 3, 8)).astype(np.float32)
MASK = np.array([[True, True, False], [True, False, False]])


def test_layer_contract(tmp_path):
    inputs = [INPUTS, CONTEXT]
    run_layer_test(
        CrossAttentionBlock, {"heads": 2}, inputs, folder=tmp_path, output_shape=(2, 5, 8)
    )


def test_it_reads_what_the_mask_leaves_of_the_context():
    block = CrossAttentionBlock(2)
    one = block(INPUTS, CONTEXT, MASK)
    other = np.where(MASK[:, :, None], CONTEXT, 7.0)
    np.testing.assert_allclose(block(INPUTS, other, MASK), one, atol=1e-5)
    assert not np.array_equal(block(INPUTS, -CONTEXT, MASK), one)


def test_positions_do_not_see_each_other():
    block = CrossAttentionBlock(2)
    changed = INPUTS.copy()
    changed[:, 2] += 1.0
    difference = np.abs(block(changed, CONTEXT) - block(INPUTS, CONTEXT)).max(axis=(0, 2))
    assert difference[2] > 0.1
    np.testing.assert_allclose(np.delete(difference, 2), 0.0, atol=1e-6)


def test_a_context_may_be_wider_and_projected_once():
    block = CrossAttentionBlock(2)
    wide = RANDOM.normal(size=(2, 3, 12)).astype(np.float32)
    block.build((None, 5, 8), (None, 3, 12))
    read = block.read(INPUTS, *block.project(wide))
    np.testing.assert_allclose(read, block(INPUTS, wide), atol=1e-6)
