"""Draws of the input: the seeds of rows, which of their texts are drawn, and how often."""

from __future__ import annotations

import tensorflow as tf

from vl_models.row_random import number, stream_seed, uniform

# Streams of one row's randomness; the model's own draws start from the row's seed itself.
CROP, TEXT, TOKENS = 1, 2, 3
LABEL, TEMPLATE, REPEAT = 11, 12, 13
VIEW_2, AUGMENT = 21, 22


def row_seed(run_seed: int, epoch: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    """Seeds of rows in one epoch, independent of batch, order and replica.

    Args:
        run_seed: seed of the run.
        epoch: int64 scalar.
        rows: int64 [B], the stable indices of the Examples.

    Returns:
        int32 [B, 2], each for `tf.random.stateless_*`.
    """
    run = tf.cast(tf.constant(run_seed, tf.int64), tf.uint64)
    return tf.bitcast(number(number(number(run, 0), epoch), rows), tf.int32)


def text_seeds(seeds: tf.Tensor, count: int) -> tf.Tensor:
    """Seeds of the ``count`` texts of each row, int32 [B, 2] to [B·count, 2], image-major."""
    own = tf.bitcast(stream_seed(seeds, TOKENS), tf.uint64)[:, tf.newaxis]
    return tf.reshape(tf.bitcast(number(own, tf.range(count)), tf.int32), [-1, 2])


def draw_texts(
    weights: tf.Tensor,
    lengths: tf.Tensor,
    count: int,
    seeds: tf.Tensor,
    power: float,
    factors: tf.Tensor | None = None,
) -> tf.Tensor:
    """Draw texts of each image, without repetition while there are enough.

    The Gumbel top-k trick: the order of log w + Gumbel noise is a sequence of draws without
    replacement with probability proportional to w (Kool et al. 2019, "Stochastic Beams and
    Where to Find Them", section 2). An image with fewer than ``count`` texts repeats its own.

    Args:
        weights: float32 [B, N], padded; texts of weight 0 come last.
        lengths: int [B], how many texts each image has, at least 1.
        count: texts to draw.
        seeds: int32 [B, 2].
        power: draws are by weight ** power; 0 ignores the weights.
        factors: float32 [B, N]; draws are by weight ** power · factor.

    Returns:
        int32 [B, count], indices into the texts.
    """
    drawn = uniform(seeds, tf.range(tf.shape(weights)[1]))
    scores = -tf.math.log(-tf.math.log(drawn))
    scores += power * tf.math.log(tf.maximum(weights, 1e-20))
    if factors is not None:
        scores += tf.math.log(tf.maximum(factors, 1e-20))
    scores = tf.where(tf.sequence_mask(lengths, tf.shape(weights)[1]), scores, -float("inf"))
    best = tf.math.top_k(scores, tf.minimum(count, tf.shape(scores)[1])).indices
    turns = tf.range(count) % tf.cast(lengths, tf.int32)[:, tf.newaxis]
    return tf.gather(best, turns, batch_dims=1)


def round_at_random(expected: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
    """Whole numbers with the given expectations: the floor, or one more at the rest's probability.

    Args:
        expected: non-negative float [B].
        seeds: int32 [B, 2].

    Returns:
        int64 [B].
    """
    floor = tf.floor(expected)
    drawn = tf.cast(uniform(seeds, tf.constant([0]))[:, 0], expected.dtype)
    more = drawn < expected - floor
    return tf.cast(floor, tf.int64) + tf.cast(more, tf.int64)
