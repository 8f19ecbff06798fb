"""Tiny fusion systems and a batch for them, for the tests of tasks and models."""

import numpy as np
import tensorflow as tf
import yaml

from vl_models.models.registry import build_model, model_config_from_dict
from vl_models.tasks.fusion_config import CONTINUATION
from vl_models.weights.released import write_weights

LENGTH, SIZE, VOCABULARY, MASK_ID = 8, 32, 60, 4
TINY = {
    "width": 16,
    "depth": 4,
    "heads": 4,
    "image_size": SIZE,
    "patch_size": 8,
    "max_length": LENGTH,
    "vocabulary_size": VOCABULARY,
    "mask_id": MASK_ID,
}
CNN = {"kind": "cnn", "widths": [8, 8], "blocks": [0, 0]}


def make_fusion(system, **changes):
    """One of the systems, built."""
    return build_model(model_config_from_dict({**TINY, "system": system, **changes}))


def vlmo(**changes):
    return make_fusion("vlmo", **{"pair_from": 2, **changes})


def vilt(**changes):
    return make_fusion("vilt", **changes)


def make_batch(rows=4, seed=0):
    """Texts of different lengths: start token 2, end token 3, padding 0."""
    random = np.random.default_rng(seed)
    token_ids = random.integers(5, VOCABULARY, (rows, LENGTH))
    lengths = random.integers(4, LENGTH + 1, rows)
    place = np.arange(LENGTH)[None]
    token_ids[:, 0] = 2
    token_ids[np.arange(rows), lengths - 1] = 3
    mask = place < lengths[:, None]
    token_ids[~mask] = 0
    return {
        "image": tf.constant(random.integers(0, 256, (rows, SIZE, SIZE, 3)), tf.uint8),
        "token_ids": tf.constant(token_ids, tf.int32),
        "text_mask": tf.constant(mask),
        CONTINUATION: tf.constant(random.random((rows, LENGTH)) < 0.2),
        "image_id_hash": tf.range(rows, dtype=tf.int64),
        "query_hash": tf.range(100, 100 + rows, dtype=tf.int64),
        "clicked_query_hashes": tf.fill([rows, 2], tf.constant(-1, tf.int64)),
        "seed": tf.constant(random.integers(0, 2**31 - 1, (rows, 2)), tf.int32),
    }


def gradients_of(model, batch, name):
    """Gradient of one loss by path; None where there is none."""
    values = [variable.value for variable in model.trainable_variables]
    with tf.GradientTape() as tape:
        loss = model.losses(batch, model.forward(batch, training=True))[name]
    found = tape.gradient(loss, values)
    return {v.path: g for v, g in zip(model.trainable_variables, found)}


def images_alone(batch):
    return {key: value for key, value in batch.items() if not key.startswith(("token", "text"))}


def texts_alone(batch):
    return {key: value for key, value in batch.items() if key != "image"}


def untrained_tokenizer(folder, codes):
    """Write the weights of an image tokeniser of 4 x 4 codes; what a task names."""
    model = build_model(
        model_config_from_dict(
            {
                "system": "image_tokenizer",
                "image_size": SIZE,
                "image": CNN,
                "codebook": {"size": codes, "dim": 4},
            }
        )
    )
    write_weights(model, None, folder, yaml.safe_dump({"model": model.get_config()}))
    return str(folder)
