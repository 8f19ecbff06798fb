"""Tiny dual encoders and a batch for them, for the tests of the systems."""

import numpy as np
import tensorflow as tf

from vl_models.models.registry import model_config_from_dict
from vl_models.text.vocabulary import SPECIAL_TOKENS
from vl_models.text.wordpiece import WordPieceTokenizer

VOCABULARY = [*SPECIAL_TOKENS, "red", "cat", "dog", "run", "##ning", "猫"]
TOKENIZER = WordPieceTokenizer(VOCABULARY, max_length=8)
TINY = {
    "embedding_dim": 8,
    "image": {"kind": "vit", "patch_size": 8, "width": 16, "depth": 2, "heads": 2},
    "text": {"kind": "transformer", "width": 16, "depth": 2, "heads": 2},
    "image_size": 16,
    "max_length": 8,
    "vocabulary_size": len(VOCABULARY),
}


def make_config(system, **changes):
    return model_config_from_dict({**TINY, "system": system, **changes})


def make_batch(rows=4, texts_per_image=1):
    random = np.random.default_rng(7)
    texts = rows * texts_per_image
    tokens = TOKENIZER.tokenize(
        tf.constant([" ".join(random.choice(["red", "cat", "dog", "猫"], 3)) for _ in range(texts)])
    )
    return {
        "image": tf.constant(random.integers(0, 256, (rows, 16, 16, 3)), tf.uint8),
        **tokens,
        "image_id_hash": tf.range(rows, dtype=tf.int64),
        "query_hash": tf.constant(random.integers(0, 3, texts), tf.int64),
        "clicked_query_hashes": tf.constant(random.integers(-1, 3, (rows, 2)), tf.int64),
        "query_weight": tf.constant(random.uniform(0.5, 2.0, texts), tf.float32),
        "image_log_q": tf.constant(np.log(random.uniform(0.1, 0.4, rows)), tf.float32),
        "label_id": tf.constant(np.arange(rows) % 3 - 1, tf.int32),
        "source_id": tf.constant(np.arange(rows) % 2, tf.int32),
    }


def copy_weights(source, target):
    """Values of the variables that both have, by path."""
    values = {variable.path: variable for variable in source.variables}
    for variable in target.variables:
        if variable.path in values:
            variable.assign(values[variable.path])


def pair_losses(model, batch, image_embedding, text_embedding):
    """A dual encoder's own losses of embeddings."""
    outputs = {"image_embedding": image_embedding, "text_embedding": text_embedding}
    return model.own_losses(batch, outputs)
