"""Transform's graph as functions over the texts and weights that the trainer drew."""

from __future__ import annotations

import tensorflow as tf

from vl_models import features
from vl_models.input.source import TextFunction, WeightFunction
from vl_models.text.tokenizer import Tokenizer


def transform_functions(
    graph_path: str, tokenizer: Tokenizer
) -> tuple[TextFunction, WeightFunction]:
    """Return the Transform graph as two functions over drawn texts: token ids, and click weights.

    Args:
        graph_path: Transform's output.
        tokenizer: the one that the graph was made with; it tells tokens from padding.

    Returns:
        ``texts [N] -> {"token_ids": int32 [N, L], "text_mask": bool [N, L]}`` and
        ``weights [N] -> float32 [N]``; TFT prunes its graph to what is fed.
    """
    import tensorflow_transform as tft

    from tfx_pipeline.modules.preprocessing import QUERY_WEIGHT, TOKEN_IDS

    layer = tft.TFTransformOutput(graph_path).transform_features_layer()

    def apply(feature: str, values: tf.Tensor, output: str) -> tf.Tensor:
        rows = tf.RaggedTensor.from_uniform_row_length(values, 1)
        return layer({feature: rows.to_sparse()})[output].flat_values

    def text_fn(texts: tf.Tensor) -> dict[str, tf.Tensor]:
        token_ids = tf.cast(apply(features.QUERY_TEXT, texts, TOKEN_IDS), tf.int32)
        token_ids = tf.reshape(token_ids, [-1, tokenizer.max_length])
        return {"token_ids": token_ids, "text_mask": tokenizer.text_mask(token_ids)}

    def weight_fn(weights: tf.Tensor) -> tf.Tensor:
        return apply(features.QUERY_WEIGHT, weights, QUERY_WEIGHT)

    return text_fn, weight_fn
