"""Weights of FLAVA through `vlsearch weights import`: the numbers are its program's."""

import numpy as np
import pytest
import tensorflow as tf

from tests.vl_models.weights.published import PROGRAMS, TOLERANCE, batch_of, imported, published
from vl_models.losses.positives import PairHashes
from vl_models.tasks.shared_pass import positive_rows
from vl_models.weights.describe import experiment_sections
from vl_models.weights.layouts import find_layout
from vl_models.weights.read import TensorFiles

VALUES = published("flava")


def described(tokenizer):
    tensors = TensorFiles([PROGRAMS / "flava" / "model.safetensors"])
    assert find_layout("auto", tensors).name == "huggingface_flava"
    model = experiment_sections(tensors)["model"]
    assert (model["max_length"], model["multimodal_depth"], model["image_size"]) == (12, 2, 32)
    assert [task["kind"] for task in model["tasks"]] == ["itc", "mmm", "itm", "mim", "mlm"]
    for task in model["tasks"]:
        if "tokenizer" in task:
            task["tokenizer"] = tokenizer
    # What the configuration beside a published file would tell.
    return {**model, "heads": 4, "max_length": 8}


@pytest.fixture(scope="module")
def model(flava_tokenizer, tmp_path_factory):
    built, loaded = imported("flava", described(flava_tokenizer), tmp_path_factory.mktemp("flava"))
    assert loaded == {variable.path for variable in built.variables}
    return built


@pytest.fixture(scope="module")
def batch():
    hashes = {
        "image_id_hash": tf.range(3, dtype=tf.int64),
        "query_hash": tf.range(3, dtype=tf.int64),
    }
    return {**batch_of(VALUES), **hashes}


@pytest.fixture(scope="module")
def masked(model, batch):
    """Outputs of the shared pass with the program's masks and labels."""
    words = VALUES["mlm_labels"] >= 0
    cells = tf.constant(VALUES["mim_mask"].reshape(3, 16))
    text = model.embed_text(batch, tf.constant(VALUES["token_ids_masked"], tf.int32), False)
    fused = model.fuse(text, model.embed_image(batch, False, masked=cells))
    labels = tf.constant(VALUES["itm_labels"], tf.float32)
    return {
        "pass_pooled": fused.pooled,
        "pass_text": fused.text.values,
        "pass_words": tf.constant(words),
        "pass_word_ids": tf.constant(VALUES["token_ids"], tf.int32),
        "pass_image": fused.image.values[:, 1:],
        "pass_cells": cells,
        "pass_labels": labels,
        "pass_weights": tf.ones_like(labels),
        "pass_positive": positive_rows(labels),
        "mmm_codes": tf.constant(VALUES["codes"].reshape(3, 16), tf.int32),
        "image": fused.image.values,
    }


def task(model, kind):
    return next(task for task in model.tasks if task.config.kind == kind)


def test_hidden_states_of_each_modality(model, batch):
    outputs = model.encode(batch, training=False)
    for side in ("image", "text"):
        tokens = (
            model.embed_image(batch, False)
            if side == "image"
            else model.embed_text(batch, batch["token_ids"], False)
        )
        hidden, _ = model.alone(tokens, side)
        np.testing.assert_allclose(hidden, VALUES[f"{side}_hidden"], atol=TOLERANCE)
    assert outputs["image_embedded"].shape == (3, 17, 32)


def test_the_joint_encoder_reads_both(masked):
    hidden = VALUES["multimodal_masked"]
    assert hidden.shape == (3, 1 + 17 + 8, 32)
    np.testing.assert_allclose(masked["image"], hidden[:, 1:18], atol=TOLERANCE)
    np.testing.assert_allclose(masked["pass_text"], hidden[:, 18:], atol=TOLERANCE)


def test_losses_of_pairs(model, batch, masked):
    contrast = task(model, "itc")
    outputs = {**masked, **model.encode(batch, False)}
    outputs |= contrast.forward(model, batch, outputs, training=False)
    found = contrast.losses(batch, outputs)["itc"]
    np.testing.assert_allclose(found, VALUES["loss_global_contrastive"], atol=TOLERANCE)
    hashes = PairHashes.of_batch(batch, 3, 3)
    assert hashes.texts_per_image == 1
    cosines = outputs["image_embedding"] @ tf.transpose(outputs["text_embedding"])
    logits = contrast.own["temperature"].scale() * cosines
    np.testing.assert_allclose(logits.numpy()[[0, 2]], VALUES["contrastive_image"], atol=1e-4)
    matching = task(model, "itm")
    outputs |= {
        "itm_logits": matching.head(masked["pass_pooled"]),
        "itm_labels": masked["pass_labels"],
        "itm_weights": masked["pass_weights"],
    }
    np.testing.assert_allclose(
        matching.losses(batch, outputs)["itm"], VALUES["loss_itm"], atol=TOLERANCE
    )
    found = task(model, "mmm").losses(batch, outputs)
    for name in ("mmm_text", "mmm_image"):
        np.testing.assert_allclose(found[name], VALUES[f"loss_{name}"], atol=TOLERANCE)


def test_losses_of_images_and_of_texts_alone(model, batch, masked):
    cells = masked["pass_cells"]
    tokens, _ = model.alone(model.embed_image(batch, False, masked=cells), "image")
    images = task(model, "mim")
    outputs = {
        "mim_logits": images.head(tokens[:, 1:]),
        "mim_codes": masked["mmm_codes"],
        "mim_mask": cells,
    }
    found = images.losses(batch, outputs)["mim"]
    np.testing.assert_allclose(found, VALUES["loss_mim_images_only"], atol=TOLERANCE)
    hidden = tf.constant(VALUES["token_ids_masked"], tf.int32)
    tokens, _ = model.alone(model.embed_text(batch, hidden, False), "text")
    texts, words = task(model, "mlm"), masked["pass_words"]
    outputs = {
        "mlm_logits": texts.head(tf.boolean_mask(tokens, words)),
        "mlm_targets": tf.boolean_mask(batch["token_ids"], words),
    }
    found = texts.losses(batch, outputs)["mlm"]
    np.testing.assert_allclose(found, VALUES["loss_mlm_texts_only"], atol=TOLERANCE)


def test_padding_is_not_seen_unless_it_is_asked_for(model, flava_tokenizer, tmp_path):
    other, _ = imported("flava", {**described(flava_tokenizer), "sees_padding": True}, tmp_path)
    batch = batch_of(VALUES)
    garbage = {**batch, "token_ids": tf.where(batch["text_mask"], batch["token_ids"], 17)}
    scores = model.score_pairs(batch)
    np.testing.assert_allclose(model.score_pairs(garbage), scores, atol=1e-6)
    apart = np.abs(other.score_pairs(garbage) - other.score_pairs(batch))
    assert (apart > 1e-4).tolist() == [False, True, True]  # the first text has no padding
