"""Imported towers compute what the checkpoint's own program would."""

import numpy as np
import pytest
import safetensors.numpy

from tests.vl_models.weights import checkpoints, reference
from vl_models.models.registry import build_model
from vl_models.training.checkpoint import assign_values, by_path
from vl_models.weights.importer import import_weights
from vl_models.weights.layouts import LAYOUTS, find_layout

HEADS = checkpoints.HEADS
RNG = np.random.default_rng(7)
IMAGES = RNG.integers(0, 256, (3, checkpoints.SIZE, checkpoints.SIZE, 3)).astype(np.uint8)
END = checkpoints.VOCABULARY - 1
# Rows with start, some tokens, end and padding; ids above 0 so that a BERT sees no padding.
IDS = np.array(
    [
        [38, 5, 9, 1, END, 0, 0, 0, 0, 0],
        [38, END, 0, 0, 0, 0, 0, 0, 0, 0],
        [38, 3, 3, 8, 20, 21, 7, 2, 30, END],
    ],
    np.int32,
)
MASK = np.cumsum(np.cumsum(IDS == END, 1), 1) <= 1

OPEN_CLIP = checkpoints.open_clip()
CHINESE = checkpoints.chinese_clip()
FILES = {
    "open_clip": ("open_clip", OPEN_CLIP, OPEN_CLIP),
    "open_clip, wrapped": (
        "open_clip",
        {f"module.{n}": v for n, v in OPEN_CLIP.items()},
        OPEN_CLIP,
    ),
    "open_clip, custom text": ("open_clip", checkpoints.custom_text(OPEN_CLIP), OPEN_CLIP),
    "openai_clip": ("openai_clip", checkpoints.openai(OPEN_CLIP), OPEN_CLIP),
    "huggingface_clip": ("huggingface_clip", checkpoints.huggingface(OPEN_CLIP), OPEN_CLIP),
    "chinese_clip": ("chinese_clip", CHINESE, CHINESE),
    "chinese_clip, port": ("chinese_clip", checkpoints.huggingface_chinese(CHINESE), CHINESE),
}


def write(tensors, path):
    contiguous = {name: np.ascontiguousarray(v).reshape(v.shape) for name, v in tensors.items()}
    safetensors.numpy.save_file(contiguous, path)
    return path


def towers(tensors, path, config):
    """A model with the imported values, and the result of the import."""
    result = import_weights([write(tensors, path)], config)
    model = build_model(config)
    assign_values(by_path(model.variables), result.values, "the import")
    return model, result


@pytest.mark.parametrize("name", FILES)
def test_embeddings_are_those_of_a_numpy_forward_pass(name, tmp_path):
    layout, tensors, original = FILES[name]
    bert = layout == "chinese_clip"
    config = checkpoints.model_config("bert" if bert else "transformer")
    model, result = towers(tensors, tmp_path / "model.safetensors", config)

    assert result.layout == layout
    assert result.unmatched == [] and result.resize == {}
    assert {entry.status for entry in result.entries} <= {"imported", "cropped"}
    images = model.encode_image({"image": IMAGES})
    expected = [reference.clip_image(image, original, HEADS) for image in IMAGES]
    np.testing.assert_allclose(images, expected, atol=1e-5)
    texts = model.encode_text({"token_ids": IDS, "text_mask": MASK})
    forward = reference.bert_text if bert else reference.clip_text
    np.testing.assert_allclose(texts, [forward(ids, original, HEADS) for ids in IDS], atol=1e-5)
    assert float(model.temperature.log_scale.numpy()) == 3.25


def test_the_exact_gelu_is_a_setting(tmp_path):
    gelu = {"activation": "gelu"}
    config = checkpoints.model_config(image=gelu, text_changes=gelu)
    model, _ = towers(OPEN_CLIP, tmp_path / "model.safetensors", config)

    def expected(activation):
        return reference.clip_image(IMAGES[0], OPEN_CLIP, HEADS, activation)

    image = model.encode_image({"image": IMAGES[:1]})[0]
    np.testing.assert_allclose(image, expected(reference.gelu), atol=1e-5)
    assert np.abs(image - expected(reference.quick_gelu)).max() > 1e-4
    text = model.encode_text({"token_ids": IDS[:1], "text_mask": MASK[:1]})[0]
    np.testing.assert_allclose(
        text, reference.clip_text(IDS[0], OPEN_CLIP, HEADS, reference.gelu), atol=1e-5
    )


def test_a_linear_text_projection_and_a_sigmoid_bias_have_a_place(tmp_path):
    tensors = checkpoints.custom_text(OPEN_CLIP)
    tensors["text.text_projection.weight"] = tensors.pop("text.text_projection").T
    tensors["logit_bias"] = np.array([-9.5], np.float32)
    config = checkpoints.model_config(system="siglip")
    model, result = towers(tensors, tmp_path / "model.safetensors", config)
    text = model.encode_text({"token_ids": IDS[:1], "text_mask": MASK[:1]})[0]
    np.testing.assert_allclose(text, reference.clip_text(IDS[0], OPEN_CLIP, HEADS), atol=1e-5)
    assert result.values["logit_bias/bias"] == np.float32(-9.5)
    assert result.unmatched == []


@pytest.mark.parametrize("name", FILES)
def test_the_layout_is_guessed_from_the_names(name):
    layout, tensors, _ = FILES[name]
    assert find_layout("auto", list(tensors)) is LAYOUTS[layout]
