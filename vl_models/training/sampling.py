"""Stateless randomness of a row: its seed, and which of its texts are drawn."""

from __future__ import annotations

import tensorflow as tf

# Streams of one row's randomness; the model's own draws start from the row's seed itself.
CROP, TEXT = 1, 2


def stream_seed(seed: tf.Tensor, stream: int) -> tf.Tensor:
    """Seed of one stream of a row: equal seeds would couple, say, the crop and the text.

    Args:
      seed: int32 [2].
      stream: which stream.

    Returns:
      int32 [2].
    """
    return tf.random.experimental.stateless_fold_in(seed, stream)


def row_seed(run_seed: int, epoch: tf.Tensor, row: tf.Tensor) -> tf.Tensor:
    """Seed of one row in one epoch, independent of batch, order and replica.

    Args:
      run_seed: seed of the run.
      epoch: int64 scalar.
      row: int64 scalar, the stable index of the Example.

    Returns:
      int32 [2], for `tf.random.stateless_*`.
    """
    run = tf.constant(run_seed, tf.int64)
    base = tf.random.stateless_uniform([], tf.stack([run, epoch]), None, None, tf.int64)
    return tf.random.stateless_uniform([2], tf.stack([base, row]), None, None, tf.int32)


def draw_texts(weights: tf.Tensor, count: int, seed: tf.Tensor, uniform: bool) -> tf.Tensor:
    """Draw texts of one image, without repetition while there are enough.

    The Gumbel top-k trick: the order of log w + Gumbel noise is a sequence of draws without
    replacement with probability proportional to w (Kool et al. 2019, "Stochastic Beams and
    Where to Find Them", section 2). An image with fewer than ``count`` texts repeats its own.

    Args:
      weights: float [n], n ≥ 1; texts of weight 0 come last.
      count: texts to draw.
      seed: int32 [2].
      uniform: True ignores the weights.

    Returns:
      int32 [count], indices into the texts.
    """
    noise = tf.random.stateless_uniform(tf.shape(weights), seed, minval=1e-20, maxval=1.0)
    gumbel = -tf.math.log(-tf.math.log(noise))
    scores = gumbel if uniform else gumbel + tf.math.log(tf.maximum(weights, 1e-20))
    order = tf.argsort(scores, direction="DESCENDING", stable=True)
    return tf.gather(order, tf.range(count) % tf.size(order))
