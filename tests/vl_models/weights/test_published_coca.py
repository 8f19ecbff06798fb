"""Weights of open_clip's CoCa through `vlsearch weights import`: the numbers are its program's."""

import json
import shutil

import numpy as np
import pytest
import safetensors.numpy
import tensorflow as tf

from tests.vl_models.weights.published import PROGRAMS, TOLERANCE, imported, published
from vl_models.errors import UserError
from vl_models.models.registry import model_config_from_dict
from vl_models.weights.describe import experiment_sections
from vl_models.weights.importer import import_weights
from vl_models.weights.layouts import find_layout
from vl_models.weights.read import TensorFiles

MODES = ["single", "cascade", "parallel"]


def with_configuration(mode, folder, tensors=None):
    """The program's file, or one of these tensors, and the configuration that lies beside it."""
    source, path = PROGRAMS / f"coca_{mode}", folder / "model.safetensors"
    if tensors is None:
        shutil.copy(source / path.name, path)
    else:
        safetensors.numpy.save_file(tensors, path)
    config = json.loads((source / "config.json").read_text())
    model = {
        "vision_cfg": config["vision"],
        "text_cfg": config["text"],
        "multimodal_cfg": config["multimodal"],
    }
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": model}))
    return path


@pytest.fixture(scope="module", params=MODES)
def checkpoint(request, tmp_path_factory):
    """The mode, and the file."""
    folder = tmp_path_factory.mktemp(request.param)
    return request.param, with_configuration(request.param, folder)


def test_numbers_are_the_programs(checkpoint, tmp_path):
    mode, path = checkpoint
    tensors = TensorFiles([path])
    assert find_layout("auto", tensors).name == "open_clip_coca"
    described = experiment_sections(tensors)["model"]
    assert (described["pooling"], described["max_length"]) == (mode, 9)
    values = published(f"coca_{mode}")
    # The program was given texts of 8 tokens, and put the class token behind them.
    model, loaded = imported(f"coca_{mode}", {**described, "max_length": 8}, tmp_path, path)
    unused = {"image_encoder/norm_after/gamma", "image_encoder/norm_after/beta"}
    assert {variable.path for variable in model.variables} - loaded == unused
    ids = values["token_ids"]
    batch = {
        "image": tf.constant(values["image"]),
        "token_ids": tf.constant(ids, tf.int32),
        "text_mask": tf.constant(ids != 0),
    }
    outputs = model.forward(batch, training=False)
    image = values["image_embedding"].reshape(3, -1)
    np.testing.assert_allclose(outputs["image_embedding"], image, atol=TOLERANCE)
    np.testing.assert_allclose(outputs["text_embedding"], values["text_embedding"], atol=TOLERANCE)
    # Parts of the program's vocabulary were never initialised: numbers of all sizes, and NaN.
    size = np.maximum(1.0, np.abs(values["logits"]).max(axis=(0, 1)))
    logits = outputs["caption_logits"] / size
    np.testing.assert_allclose(logits, values["logits"] / size, atol=TOLERANCE)
    np.testing.assert_allclose(model.logit_scale(), values["logit_scale"], rtol=1e-6)


def test_the_right_mask_is_another_embedding(checkpoint, tmp_path):
    mode, path = checkpoint
    described = experiment_sections(TensorFiles([path]))["model"]
    assert described["text"]["shifted_mask"]
    described["text"]["shifted_mask"] = False
    config = {**described, "max_length": 8}
    told = "model.text.shifted_mask is False; models of this layout have True"
    model, _ = imported(f"coca_{mode}", config, tmp_path, path, told)
    values = published(f"coca_{mode}")
    ids = tf.constant(values["token_ids"], tf.int32)
    found = model.encode_text({"token_ids": ids, "text_mask": ids != 0}).numpy()
    apart = np.abs(found - values["text_embedding"]).max(axis=1)
    assert (apart > 1e-3).tolist() == [False, True, True]  # the first text has no padding


def test_the_loss_of_a_vocabulary_without_gaps_is_the_closed_form(tmp_path):
    """Of the program's logits, as its own loss is undefined with a vocabulary never initialised."""
    values = published("coca_cascade")
    tensors = safetensors.numpy.load_file(PROGRAMS / "coca_cascade" / "model.safetensors")
    kernel = tensors["text_decoder.text_projection"]
    usable = np.abs(kernel).max(axis=0) < 10.0  # not where it is NaN
    tensors["text_decoder.text_projection"] = np.where(usable, kernel, 0.0)
    (tmp_path / "file").mkdir()
    path = with_configuration("cascade", tmp_path / "file", tensors)
    described = experiment_sections(TensorFiles([path]))["model"] | {"max_length": 8}
    model, _ = imported("coca_cascade", described, tmp_path, path)
    ids = values["token_ids"]
    batch = {
        "image": tf.constant(values["image"]),
        "token_ids": tf.constant(ids, tf.int32),
        "text_mask": tf.constant(ids != 0),
    }
    logits = np.where(usable, values["logits"], 0.0)
    labels = values["labels"]
    log = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    expected = -np.take_along_axis(log, labels[..., None], -1)[..., 0][labels != 0].mean()
    loss = model.losses(batch, model.forward(batch, training=False))["captioning"]
    np.testing.assert_allclose(loss, 2.0 * expected, atol=TOLERANCE)


def test_another_pooling_and_another_tower_are_refused(tmp_path):
    path = PROGRAMS / "coca_cascade" / "model.safetensors"
    described = experiment_sections(TensorFiles([path]))["model"]
    config = {**described, "vocabulary_size": 96, "pooler_heads": 4, "pooling": "single"}
    with pytest.raises(UserError, match=r"set model\.pooling: cascade or parallel"):
        import_weights([path], model_config_from_dict(config))
    tensors = safetensors.numpy.load_file(path)
    tensors["visual.trunk.stem.weight"] = np.zeros([2, 2], np.float32)
    other = tmp_path / "timm.safetensors"
    safetensors.numpy.save_file(tensors, other)
    with pytest.raises(UserError, match="The file is a CoCa over a tower of timm"):
        import_weights([other], model_config_from_dict({**config, "pooling": "cascade"}))
