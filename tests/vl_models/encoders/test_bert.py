import numpy as np
import pytest

from tests.harness import run_layer_test
from vl_models.encoders.bert import BertEncoder
from vl_models.encoders.config import BertConfig
from vl_models.encoders.factory import build_text_encoder

SIZES = {"vocabulary_size": 12, "width": 8, "depth": 2, "heads": 2}
IDS = np.array([[2, 7, 8, 3, 0, 0], [2, 9, 3, 0, 0, 0]], np.int32)
MASK = IDS > 0


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_layer(pooling, tmp_path):
    run_layer_test(
        BertEncoder,
        {**SIZES, "pooling": pooling},
        [IDS, MASK],
        folder=tmp_path,
        output_shape={"hidden": (2, 6, 8), "tokens": (2, 6, 8), "pooled": (2, 8)},
    )


def test_padding_is_not_seen():
    for pooling in ("cls", "mean"):
        encoder = BertEncoder(**SIZES, pooling=pooling)
        garbage = np.where(MASK, IDS, 11)
        np.testing.assert_array_equal(
            encoder(IDS, MASK)["pooled"], encoder(garbage, MASK)["pooled"]
        )


def test_the_first_token_sees_the_last():
    encoder = BertEncoder(**SIZES)
    changed = IDS.copy()
    changed[0, 3] = 5
    one, two = encoder(IDS, MASK)["pooled"], encoder(changed, MASK)["pooled"]
    assert np.abs(one[0] - two[0]).max() > 0 and np.array_equal(one[1], two[1])


def test_tokens_are_normalised_by_the_last_block():
    tokens = BertEncoder(**SIZES)(IDS, MASK)["tokens"].numpy()
    np.testing.assert_allclose(tokens.mean(-1), 0.0, atol=1e-6)
    np.testing.assert_allclose(tokens.var(-1), 1.0, atol=1e-4)


def test_dropout_acts_in_training_alone():
    encoder = BertEncoder(**SIZES, dropout=0.5)
    one, two = encoder(IDS, MASK), encoder(IDS, MASK)
    np.testing.assert_array_equal(one["pooled"], two["pooled"])
    seeds = np.arange(2 * len(IDS), dtype=np.int32).reshape(-1, 2)
    dropped = encoder(IDS, MASK, seeds=seeds, training=True)["pooled"]
    assert not np.array_equal(dropped, one["pooled"])
    again = encoder(IDS, MASK, seeds=seeds, training=True)["pooled"]
    np.testing.assert_array_equal(again, dropped)


def test_configuration_has_berts_settings_and_no_prefix():
    config = BertConfig(kind="bert", width=8, depth=1, heads=2)
    encoder = build_text_encoder(config, 33, "text_encoder", "float32")
    settings = encoder.get_config()
    assert settings["activation"] == "gelu" and settings["epsilon"] == 1e-12
    assert (settings["vocabulary_size"], settings["pooling"]) == (33, "cls")
    with pytest.raises(
        ValueError, match=r"kind 'transformer' takes a prefix\. Received: kind='bert'"
    ):
        build_text_encoder(config, 33, "text_encoder", "float32", prefix_length=2)


def test_unknown_pooling_is_named():
    with pytest.raises(ValueError, match="Received: pooling='eot'"):
        BertEncoder(**SIZES, pooling="eot")
