"""Positions of BEiT, relative or absolute, on their way into VLMo."""

import json

import numpy as np
import pytest
import safetensors.numpy
import tensorflow as tf

from tests.vl_models.weights import reference
from tests.vl_models.weights.published import (
    PROGRAMS,
    TOLERANCE,
    VILT,
    batch_of,
    imported,
    published,
    result_of,
)
from vl_models.errors import UserError
from vl_models.fusion.multiway import IMAGE
from vl_models.weights.describe import experiment_sections
from vl_models.weights.read import TensorFiles

SHARED = "beit.shared_position_bias.relative_position_bias_table"
OF_BLOCK = "beit.encoder.layer.{}.attention.attention.relative_position_bias.{}".format
BIASES = "encoder/position_bias/image_table"
POSITIONS = "beit.embeddings.position_embeddings"


@pytest.fixture
def absolute():
    """The published BEiT with learned absolute positions in place of its relative ones."""
    tensors = safetensors.numpy.load_file(PROGRAMS / "beit_mim" / "model.safetensors")
    del tensors[SHARED]
    # As large as what they are added to, and of no symmetry: places that are swapped are seen.
    positions = np.random.default_rng(0).normal(size=(1, 17, 32))
    return {**tensors, POSITIONS: positions.astype(np.float32)}


def test_the_reference_is_the_published_beit():
    tensors = safetensors.numpy.load_file(PROGRAMS / "beit_mim" / "model.safetensors")
    values = published("beit_mim")
    bias = reference.beit_bias(tensors[SHARED], grid=4)
    for image, expected in zip(values["image"], values["hidden_unmasked"], strict=True):
        hidden = reference.beit_image(image, tensors, 4, bias)
        np.testing.assert_allclose(hidden, expected, atol=TOLERANCE)


def test_beit_with_absolute_positions(absolute, image_tokenizer, tmp_path):
    values, checkpoint = published("beit_mim"), tmp_path / "model.safetensors"
    safetensors.numpy.save_file(absolute, checkpoint)
    settings = json.loads((PROGRAMS / "beit_mim" / "config.json").read_bytes())
    settings |= {"use_absolute_position_embeddings": True}
    settings |= {"use_shared_relative_position_bias": False}
    (tmp_path / "config.json").write_text(json.dumps(settings), encoding="utf-8")
    model, _ = imported(
        "beit_absolute",
        {
            **VILT,
            "system": "vlmo",
            "pair_from": 3,
            "relative_positions": False,
            "tasks": [{"kind": "mim", "tokenizer": image_tokenizer}],
        },
        tmp_path,
        checkpoint,
    )
    batch = batch_of(values)
    hidden = model.encoder(model.embed_image(batch, training=False), modality=IMAGE)
    masked = model.embed_image(batch, training=False, masked=tf.constant(values["mask"]))
    read, _ = model.alone(masked, IMAGE)
    logits = model.tasks[0].head(read[:, 1:])
    for row, (image, mask) in enumerate(zip(values["image"], values["mask"], strict=True)):
        expected = reference.beit_image(image, absolute, 4)
        np.testing.assert_allclose(hidden[row], expected, atol=TOLERANCE)
        expected = reference.beit_image(image, absolute, 4, mask=mask)
        expected = reference.layer_norm(expected, absolute, "layernorm", 1e-12)[1:]
        expected = reference.linear(expected, absolute, "lm_head")
        np.testing.assert_allclose(logits[row], expected, atol=TOLERANCE)


def test_a_file_with_absolute_positions_is_described(absolute, tmp_path):
    safetensors.numpy.save_file(absolute, tmp_path / "model.safetensors")
    model = experiment_sections(TensorFiles([tmp_path / "model.safetensors"]))["model"]
    assert (model["image_size"], model["relative_positions"]) == (32, False)
    assert "layer_scale" not in model
    unscaled = {name: value for name, value in absolute.items() if "lambda" not in name}
    safetensors.numpy.save_file(unscaled, tmp_path / "model.safetensors")
    model = experiment_sections(TensorFiles([tmp_path / "model.safetensors"]))["model"]
    assert model["layer_scale"] is None


def test_absolute_positions_of_another_grid_are_left_to_the_warm_start(absolute, tmp_path):
    changes = {"system": "vlmo", "pair_from": 3, "relative_positions": False, "image_size": 48}
    result = result_of(absolute, tmp_path, **changes)
    assert result.resize == {"image_embedding/grid_positions": "grid"}
    np.testing.assert_array_equal(
        result.values["image_embedding/grid_positions"], absolute[POSITIONS][0, 1:]
    )
    np.testing.assert_array_equal(
        result.values["image_embedding/class_position"], absolute[POSITIONS][0, 0]
    )


def test_positions_of_another_kind_than_the_models_are_refused(absolute, tmp_path):
    relative = safetensors.numpy.load_file(PROGRAMS / "beit_mim" / "model.safetensors")
    vlmo = {"system": "vlmo", "pair_from": 3}
    with pytest.raises(
        UserError,
        match=rf"- {POSITIONS}: the model has no image_embedding/class_position: positions are "
        "absolute, set model.relative_positions: false",
    ):
        result_of(absolute, tmp_path, **vlmo)
    with pytest.raises(
        UserError,
        match=rf"- {SHARED}: the model has no {BIASES}: positions are relative, set "
        "model.relative_positions: true",
    ):
        result_of(relative, tmp_path, **vlmo, relative_positions=False)


@pytest.mark.parametrize("is_relative", [True, False])
@pytest.mark.parametrize("table", [SHARED, OF_BLOCK(0, "relative_position_bias_table")])
def test_both_kinds_of_positions_in_a_file_are_refused(absolute, tmp_path, is_relative, table):
    tensors = {**absolute, table: np.zeros([52, 4], np.float32)}
    vlmo = {"system": "vlmo", "pair_from": 3, "relative_positions": is_relative}
    with pytest.raises(UserError) as caught:
        result_of(tensors, tmp_path, **vlmo)
    assert str(caught.value) == (
        "The file is a BEiT with absolute and relative positions at once (tensor "
        f"'{POSITIONS}'), which system 'vlmo' cannot be. Take another checkpoint."
    )


def test_factors_of_the_branches_are_not_left_out(absolute, tmp_path):
    """Without them a branch would count ten times as much as in the file's model."""
    vlmo = {"system": "vlmo", "pair_from": 3, "relative_positions": False}
    with pytest.raises(UserError, match=r"attention_scale/scale: .* set model\.layer_scale to a n"):
        result_of(absolute, tmp_path, **vlmo, layer_scale=None)
    unscaled = {name: value for name, value in absolute.items() if "lambda" not in name}
    assert result_of(unscaled, tmp_path, **vlmo, layer_scale=None).values
    with pytest.raises(UserError, match=r"attention_scale/scale \[32\]: the file has no value"):
        result_of(unscaled, tmp_path, **vlmo)


def test_tables_of_every_block_are_put_side_by_side(tmp_path):
    tensors = safetensors.numpy.load_file(PROGRAMS / "beit_mim" / "model.safetensors")
    shared = result_of(tensors, tmp_path, system="vlmo", pair_from=3).values[BIASES]
    table = tensors.pop(SHARED)
    depth = shared.shape[1] // table.shape[1]
    for block in range(depth):
        tensors[OF_BLOCK(block, "relative_position_bias_table")] = table + block
        tensors[OF_BLOCK(block, "relative_position_index")] = np.zeros([2, 2], np.int64)
    own = result_of(tensors, tmp_path, system="vlmo", pair_from=3)
    added = np.repeat(np.arange(depth, dtype=np.float32), table.shape[1])
    np.testing.assert_array_equal(own.values[BIASES], shared + added)
    assert not any("relative_position" in name for name in own.unmatched)
    del tensors[OF_BLOCK(0, "relative_position_bias_table")]
    with pytest.raises(
        UserError, match=rf"- {BIASES} \[.*\]: the file has only .*of {depth} parts"
    ):
        result_of(tensors, tmp_path, system="vlmo", pair_from=3)


def test_biases_of_another_grid_are_left_to_the_warm_start(tmp_path):
    tensors = safetensors.numpy.load_file(PROGRAMS / "beit_mim" / "model.safetensors")
    rows = tensors[SHARED].shape[0]
    result = result_of(tensors, tmp_path, system="vlmo", pair_from=3, image_size=64)
    assert result.resize == {BIASES: "relative_grid"}
    assert result.values[BIASES].shape[0] == rows
