"""What a modality classifier minimises, and the features behind a gradient reversal maximise."""

from __future__ import annotations

import tensorflow as tf

IMAGE, TEXT = 0, 1


def modality_cross_entropy(logits: tf.Tensor, modality: int) -> tf.Tensor:
    """Cross-entropy of rows that are all of one modality.

    Source: Wang et al., "Adversarial Cross-Modal Retrieval", equation 8; the sum of the means of
    both modalities is 2 ln 2 for a classifier that cannot tell them apart.

    Args:
        logits: [B, 2].
        modality: `IMAGE` or `TEXT`.

    Returns:
        float32 [B].
    """
    logits = tf.cast(logits, tf.float32)
    classes = tf.fill(tf.shape(logits)[:1], modality)
    return tf.nn.sparse_softmax_cross_entropy_with_logits(classes, logits)
