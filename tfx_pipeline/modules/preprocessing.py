"""The Transform graph: text to token ids, clicks to training weights; never images."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tensorflow_transform as tft

from vl_models import features
from vl_models.text.factory import load_tokenizer

TOKEN_IDS = "query/token_ids"  # int64, ragged [B, (n), L], padded
QUERY_WEIGHT = features.QUERY_WEIGHT  # float32, ragged [B, (n)], mean 1 over the train split


def preprocessing_fn(inputs: dict[str, Any], custom_config: dict[str, Any]) -> dict[str, Any]:
    """Transform the text side of a batch of Examples.

    Args:
        inputs: features of ClickExampleGen; only those used here are read or analysed.
        custom_config: ``vocabulary`` (folder of the vocabulary's files) and ``max_length`` (L).

    Returns:
        The features named above. Token ids depend on ``query/text`` alone and weights on
        ``query/weight`` alone, so the trainer can feed it just the texts that it drew.
    """

    def make_tokenizer() -> tf.Module:
        holder = tf.Module()
        holder.tokenizer = load_tokenizer(custom_config["vocabulary"], custom_config["max_length"])
        holder.tables = list(holder.tokenizer.resources)
        return holder

    # Lookup tables are saved with the graph only if Transform knows of them.
    tokenizer = tft.make_and_track_object(make_tokenizer, name="tokenizer").tokenizer
    texts = _ragged(inputs[features.QUERY_TEXT])
    token_ids = tokenizer.tokenize(texts.flat_values)["token_ids"]
    weights = _ragged(inputs[features.QUERY_WEIGHT])
    mean = tf.cast(tft.mean(weights.flat_values), tf.float32)
    return {
        TOKEN_IDS: texts.with_flat_values(tf.cast(token_ids, tf.int64)),
        QUERY_WEIGHT: weights.with_flat_values(tf.math.divide_no_nan(weights.flat_values, mean)),
    }


def _ragged(feature: Any) -> tf.RaggedTensor:
    """Return a feature as [B, (n)], whatever representation the schema gave it."""
    if isinstance(feature, tf.SparseTensor):
        return tf.RaggedTensor.from_sparse(feature)
    if isinstance(feature, tf.RaggedTensor):
        return feature
    return tf.RaggedTensor.from_tensor(feature if feature.shape.rank > 1 else feature[:, None])
