import numpy as np
import pytest

from tests.harness import run_layer_test
from vl_models.encoders.vit import ViTEncoder

IMAGES = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3)).astype(np.uint8)
SIZES = {"patch_size": 8, "width": 8, "depth": 2, "heads": 2}


@pytest.mark.parametrize(("pooling", "tokens"), [("cls", 5), ("mean", 4)])
def test_layer_contract(pooling, tokens, tmp_path):
    run_layer_test(
        ViTEncoder,
        {**SIZES, "pooling": pooling},
        [IMAGES],
        folder=tmp_path,
        output_shape={"hidden": (2, tokens, 8), "tokens": (2, tokens, 8), "pooled": (2, 8)},
    )


def test_pooled_output_is_the_normalised_class_token():
    encoder = ViTEncoder(**SIZES)
    outputs = encoder(IMAGES)
    np.testing.assert_array_equal(outputs["pooled"], encoder.norm_after(outputs["hidden"][:, 0]))
    np.testing.assert_array_equal(outputs["tokens"], encoder.norm_after(outputs["hidden"]))


def test_embedding_apart_from_blocks():
    encoder = ViTEncoder(**SIZES)
    whole = encoder(IMAGES)
    parts = encoder.encode(encoder.embed(IMAGES))
    np.testing.assert_array_equal(parts["hidden"], whole["hidden"])


def test_paths_are_dropped_by_the_seed_of_the_row():
    encoder = ViTEncoder(**{**SIZES, "depth": 3}, drop_path=0.5)
    assert [block.drop_path for block in encoder.blocks] == [0.0, 0.25, 0.5]
    seeds = np.arange(2 * len(IMAGES), dtype=np.int32).reshape(-1, 2)
    whole = encoder(IMAGES, seeds=seeds, training=True)["pooled"].numpy()
    alone = encoder(IMAGES[1:], seeds=seeds[1:], training=True)["pooled"].numpy()
    np.testing.assert_allclose(alone, whole[1:], rtol=1e-4, atol=1e-5)
    assert np.abs(whole - encoder(IMAGES)["pooled"]).max() > 1e-3


def test_rows_do_not_influence_each_other():
    encoder = ViTEncoder(**SIZES)
    np.testing.assert_allclose(
        encoder(IMAGES)["pooled"][1:], encoder(IMAGES[1:])["pooled"], atol=1e-5
    )


def test_equal_patches_at_other_places_differ_by_their_positions():
    image = np.zeros((1, 16, 16, 3), np.uint8)
    image[:, :8, :8] = 255
    encoder = ViTEncoder(**SIZES)
    moved = np.roll(image, 8, axis=2)
    assert not np.array_equal(encoder(image)["pooled"], encoder(moved)["pooled"])


def test_pooling_must_be_known():
    with pytest.raises(ValueError, match="Received: pooling='max'"):
        ViTEncoder(**SIZES, pooling="max")
