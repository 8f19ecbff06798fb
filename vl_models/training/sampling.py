"""Stateless randomness of rows: their seeds, and which of their texts are drawn.

Everything is computed for a whole batch at once, and yet depends on each row alone. TensorFlow's
stateless generators take one seed per call, so the seeds here are numbers of SplitMix64 (Steele,
Lea & Flood 2014, "Fast Splittable Pseudorandom Number Generators", figure 17), whose k-th number
is a function of the start and k.
"""

from __future__ import annotations

import tensorflow as tf

# Streams of one row's randomness; the model's own draws start from the row's seed itself.
CROP, TEXT = 1, 2
LABEL, TEMPLATE, REPEAT = 11, 12, 13
VIEW_2, AUGMENT = 21, 22

_GAMMA = 0x9E3779B97F4A7C15
_ROUNDS = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))


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
    return tf.bitcast(_number(_number(_number(run, 0), epoch), rows), tf.int32)


def stream_seed(seeds: tf.Tensor, stream: int) -> tf.Tensor:
    """Seeds of one stream of rows: equal seeds would couple, say, the crop and the text.

    Args:
      seeds: int32 [B, 2].
      stream: which stream.

    Returns:
      int32 [B, 2].
    """
    return tf.bitcast(_number(tf.bitcast(seeds, tf.uint64), stream), tf.int32)


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
    uniform = _uniform(seeds, tf.range(tf.shape(weights)[1]))
    scores = -tf.math.log(-tf.math.log(uniform))
    scores += power * tf.math.log(tf.maximum(weights, 1e-20))
    if factors is not None:
        scores += tf.math.log(tf.maximum(factors, 1e-20))
    scores = tf.where(tf.sequence_mask(lengths, tf.shape(weights)[1]), scores, -float("inf"))
    best = tf.math.top_k(scores, tf.minimum(count, tf.shape(scores)[1])).indices
    turns = tf.range(count) % tf.cast(lengths, tf.int32)[:, tf.newaxis]
    return tf.gather(best, turns, batch_dims=1)


def round_at_random(expected: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
    """Whole numbers with the given expectations: the floor, or with the rest's chance one more.

    Args:
      expected: non-negative float [B].
      seeds: int32 [B, 2].

    Returns:
      int64 [B].
    """
    floor = tf.floor(expected)
    uniform = tf.cast(_uniform(seeds, tf.constant([0]))[:, 0], expected.dtype)
    more = uniform < expected - floor
    return tf.cast(floor, tf.int64) + tf.cast(more, tf.int64)


def draw_uniform(seeds: tf.Tensor, count: int) -> tf.Tensor:
    """The first ``count`` numbers of each row's sequence, float32 [B, count] in (0, 1)."""
    return _uniform(seeds, tf.range(count))


def _uniform(seeds: tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
    """float32 [B, N] in (0, 1): column k is the k-th number of each row's sequence."""
    bits = _number(tf.bitcast(seeds, tf.uint64)[:, tf.newaxis], columns)
    # The middles of 2**23 equal cells of (0, 1): all are exact, none is 0 or 1.
    cells = tf.cast(tf.bitwise.right_shift(bits, tf.constant(41, tf.uint64)), tf.float32)
    return (cells + 0.5) * 2.0**-23


def _number(start: tf.Tensor, index: tf.Tensor | int) -> tf.Tensor:
    """Number ``index`` of the sequence from ``start``, uint64; both broadcast."""
    step = tf.cast(index, tf.uint64) + tf.constant(1, tf.uint64)
    bits = start + step * tf.constant(_GAMMA, tf.uint64)
    for shift, factor in _ROUNDS:
        bits = _xor_shift(bits, shift) * tf.constant(factor, tf.uint64)
    return _xor_shift(bits, 31)


def _xor_shift(bits: tf.Tensor, shift: int) -> tf.Tensor:
    shifted = tf.bitwise.right_shift(bits, tf.constant(shift, tf.uint64))
    return tf.bitwise.bitwise_xor(bits, shifted)
