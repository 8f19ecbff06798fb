import numpy as np
import pytest
import tensorflow as tf

from tests.harness import run_layer_test
from vl_models.encoders.text_transformer import TextTransformer

IDS = np.array([[2, 7, 8, 3, 0, 0], [2, 9, 3, 0, 0, 0]], np.int32)
MASK = IDS > 0
SIZES = {"vocabulary_size": 12, "width": 8, "depth": 2, "heads": 2}


@pytest.mark.parametrize(
    ("causal", "pooling"), [(False, "cls"), (False, "mean"), (True, "eot"), (True, "mean")]
)
def test_layer_contract(causal, pooling, tmp_path):
    run_layer_test(
        TextTransformer,
        {**SIZES, "causal": causal, "pooling": pooling},
        [IDS, MASK],
        folder=tmp_path,
        output_shape={"hidden": (2, 6, 8), "tokens": (2, 6, 8), "pooled": (2, 8)},
    )


@pytest.mark.parametrize("pooling", ["cls", "mean", "eot"])
def test_padding_changes_nothing(pooling):
    encoder = TextTransformer(**SIZES, pooling=pooling)
    garbage = np.where(MASK, IDS, 11)
    np.testing.assert_array_equal(encoder(IDS, MASK)["pooled"], encoder(garbage, MASK)["pooled"])


def test_causal_tokens_do_not_see_what_follows_the_end_token():
    encoder = TextTransformer(**SIZES, causal=True, pooling="eot")
    everything = tf.ones_like(MASK)
    garbage = np.where(MASK, IDS, 11)
    before = encoder(IDS, everything)["tokens"]
    after = encoder(garbage, everything)["tokens"]
    np.testing.assert_array_equal(before[0, :4], after[0, :4])
    assert not np.array_equal(before[0, 4:], after[0, 4:])


def test_end_token_pooling_takes_the_last_token_of_the_mask():
    encoder = TextTransformer(**SIZES, causal=True, pooling="eot")
    outputs = encoder(IDS, MASK)
    np.testing.assert_array_equal(outputs["pooled"][0], outputs["tokens"][0, 3])
    np.testing.assert_array_equal(outputs["pooled"][1], outputs["tokens"][1, 2])


def test_order_of_the_tokens_matters():
    encoder = TextTransformer(**SIZES)
    swapped = IDS[:, [0, 2, 1, 3, 4, 5]]
    before, after = (encoder(ids, MASK)["pooled"][0] for ids in (IDS, swapped))
    # More than the rounding of a sum in another order.
    assert not np.allclose(before, after, atol=1e-5)


def test_initial_deviations_are_clips():
    encoder = TextTransformer(vocabulary_size=1000, width=64, depth=3, heads=2)
    encoder.build((None, 50))
    block = encoder.blocks[0]
    for weight, deviation in [
        (encoder.token_embedding, 0.02),
        (encoder.positions, 0.01),
        (block.attention.qkv.kernel, 64**-0.5),
        (block.attention.output_projection.kernel, (64 * 6) ** -0.5),
        (block.mlp_hidden.kernel, 128**-0.5),
        (block.mlp_output.kernel, (64 * 6) ** -0.5),
    ]:
        np.testing.assert_allclose(np.std(weight), deviation, rtol=0.06)


def test_first_token_of_a_causal_transformer_is_refused():
    with pytest.raises(ValueError, match="causal=True, pooling='cls'"):
        TextTransformer(**SIZES, causal=True, pooling="cls")
