"""Euclidean distances with finite gradients."""

from __future__ import annotations

import tensorflow as tf

_SMALLEST_SQUARE = 1e-12


def distances(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """Euclidean distance of each row of a to the same row of b.

    Args:
        a: [B, D].
        b: [B, D].

    Returns:
        float32 [B]. Where rows are equal, the value and its gradient are 0.
    """
    return root(squared_distances(a, b))


def squared_distances(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """Squared Euclidean distance of each row of a to the same row of b, [B, D] both: [B]."""
    difference = tf.cast(a, tf.float32) - tf.cast(b, tf.float32)
    return tf.reduce_sum(tf.square(difference), axis=-1)


def pairwise_distances(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """Euclidean distance of every row of a to every row of b.

    Args:
        a: [I, D].
        b: [J, D].

    Returns:
        float32 [I, J]; from differences, not from the expanded square, which cancels.
    """
    return distances(a[:, None, :], b[None, :, :])


def root(squares: tf.Tensor) -> tf.Tensor:
    """Square root whose gradient at 0 is 0 and not infinite."""
    positive = squares > _SMALLEST_SQUARE
    # Both branches of `where` get a gradient: the square root must not see the zeros.
    return tf.where(positive, tf.sqrt(tf.where(positive, squares, 1.0)), 0.0)
