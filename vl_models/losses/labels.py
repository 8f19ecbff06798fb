"""Labels of rows, which rows share one, and the cross-entropy of scores against them."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf


def shares_label(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """Return True where row i of a and row j of b have a label in common.

    Args:
        a: multi-hot [I, C].
        b: multi-hot [J, C].

    Returns:
        bool [I, J]; a row without labels shares none with any.
    """
    return tf.matmul(tf.cast(a, tf.float32), tf.cast(b, tf.float32), transpose_b=True) > 0.5


def labels_of(batch: Mapping[str, tf.Tensor], rows: int, key: str = "label") -> tf.Tensor:
    """Labels of vectors, multi-hot float32 [rows, C]: of the texts of an image those of its row."""
    label = tf.cast(batch[key], tf.float32)
    return tf.repeat(label, rows // label.shape[0], axis=0)


def label_cross_entropy(scores: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Softmax cross-entropy, the target being spread evenly over a row's labels.

    Args:
        scores: [B, C].
        labels: multi-hot float32 [B, C].

    Returns:
        Loss float32 [B] of each row, and 1 where it has labels, else 0.
    """
    number = tf.reduce_sum(labels, axis=1)
    target = tf.math.divide_no_nan(labels, number[:, None])
    losses = tf.nn.softmax_cross_entropy_with_logits(target, scores)
    return losses, tf.cast(number > 0, tf.float32)
