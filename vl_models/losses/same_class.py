"""Which rows of two sides share a label."""

from __future__ import annotations

import tensorflow as tf


def shares_label(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """True where row i of a and row j of b have a label in common.

    Args:
      a: multi-hot [I, C].
      b: multi-hot [J, C].

    Returns:
      bool [I, J]; a row without labels shares none with any.
    """
    return tf.matmul(tf.cast(a, tf.float32), tf.cast(b, tf.float32), transpose_b=True) > 0.5
