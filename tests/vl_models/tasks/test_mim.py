import math

import numpy as np
import pytest
import tensorflow as tf
import yaml

from tests.vl_models.fusion_systems import CNN, gradients_of, images_alone, make_batch, vlmo
from vl_models.errors import UserError
from vl_models.models.registry import build_model, model_config_from_dict
from vl_models.weights.released import write_weights

CODES = 6


def write_tokenizer(folder, image_size):
    """A tokeniser of 8 x 8 pixels a code, as a run leaves it."""
    config = {
        "system": "image_tokenizer",
        "image_size": image_size,
        "image": {"kind": "cnn", "widths": [8, 8], "blocks": [0, 0]},
        "codebook": {"size": CODES, "dim": 4},
    }
    model = build_model(model_config_from_dict(config))
    write_weights(model, None, folder, yaml.safe_dump({"model": model.get_config()}))
    return str(folder)


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    return {"kind": "mim", "tokenizer": write_tokenizer(tmp_path_factory.mktemp("codes"), 32)}


@pytest.fixture(scope="module")
def model(task):
    return vlmo(tasks=[task])


def test_a_head_that_knows_nothing_loses_the_logarithm_of_the_codes(model):
    batch = make_batch()
    outputs = model.forward(batch, training=True)
    assert outputs["mim_logits"].shape == (4, 16, CODES)
    flat = {**outputs, "mim_logits": tf.zeros_like(outputs["mim_logits"])}
    np.testing.assert_allclose(model.losses(batch, flat)["mim"], math.log(CODES), rtol=1e-6)


def test_only_masked_patches_count(model):
    batch = make_batch()
    outputs = model.forward(batch, training=True)
    mask = outputs["mim_mask"].numpy()
    assert np.all((mask.sum(axis=1) >= 1) & (mask.sum(axis=1) <= 6))  # 75 of 196, of 16
    seen = {**outputs, "mim_codes": tf.where(mask, outputs["mim_codes"], 0)}
    loss = model.losses(batch, outputs)["mim"]
    np.testing.assert_allclose(model.losses(batch, seen)["mim"], loss)
    log = tf.nn.log_softmax(outputs["mim_logits"])
    entropy = -tf.gather(log, outputs["mim_codes"], batch_dims=2)
    np.testing.assert_allclose(loss, np.mean(entropy.numpy()[mask]), rtol=1e-5)


@pytest.mark.parametrize("image", [None, CNN])
def test_what_is_masked_cannot_be_seen(task, image):
    model, batch = vlmo(tasks=[task], image=image), make_batch()
    outputs = model.forward(batch, training=False)
    hidden = tf.reshape(outputs["mim_mask"], (4, 4, 4, 1))
    hidden = tf.repeat(tf.repeat(hidden, 8, axis=1), 8, axis=2)
    other = {**batch, "image": tf.where(hidden, 255 - batch["image"], batch["image"])}
    again = model.forward(other, training=False)
    np.testing.assert_array_equal(again["mim_mask"], outputs["mim_mask"])
    np.testing.assert_allclose(again["mim_logits"], outputs["mim_logits"], atol=1e-6)
    assert np.any(again["mim_codes"] != outputs["mim_codes"])


def test_images_alone_reach_their_own_experts(model):
    found = gradients_of(model, images_alone(make_batch()), "mim")
    for path, gradient in found.items():
        if any(part in path for part in ("text", "pair_", "pooler")):
            assert gradient is None or not np.any(gradient), path
    assert np.any(found["encoder/block_3/image_mlp_hidden/kernel"])
    assert np.any(found["image_embedding/mask_vector"])


def test_the_tokeniser_is_no_part_of_the_model(model):
    assert not any("codebook" in variable.path for variable in model.variables)


def test_a_tokeniser_of_another_grid_is_refused(tmp_path):
    tokenizer = write_tokenizer(tmp_path, 16)
    message = r"makes 2 × 2 codes of an image, the model reads 4 × 4 patches\. Train a tokeniser"
    with pytest.raises(UserError, match=message):
        vlmo(tasks=[{"kind": "mim", "tokenizer": tokenizer}])
