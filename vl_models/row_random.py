"""Stateless randomness of rows: numbers that depend on a row's seed and their place alone.

Everything is computed for a whole batch at once. TensorFlow's stateless generators take one seed
per call, so the seeds here are numbers of SplitMix64 (Steele, Lea & Flood 2014, "Fast Splittable
Pseudorandom Number Generators", figure 17), whose k-th number is a function of the start and k.
"""

from __future__ import annotations

import tensorflow as tf

_GAMMA = 0x9E3779B97F4A7C15
_ROUNDS = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))


def stream_seed(seeds: tf.Tensor, stream: int) -> tf.Tensor:
    """Seeds of one stream of rows: equal seeds would couple, say, the crop and the text.

    Args:
        seeds: int32 [B, 2].
        stream: which stream.

    Returns:
        int32 [B, 2].
    """
    return tf.bitcast(number(tf.bitcast(seeds, tf.uint64), stream), tf.int32)


def draw_uniform(seeds: tf.Tensor, count: int) -> tf.Tensor:
    """Return the first ``count`` numbers of each row's sequence, float32 [B, count] in (0, 1)."""
    return uniform(seeds, tf.range(count))


def uniform(seeds: tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
    """float32 [B, N] in (0, 1): column k is the k-th number of each row's sequence."""
    bits = number(tf.bitcast(seeds, tf.uint64)[:, tf.newaxis], columns)
    # The middles of 2**23 equal cells of (0, 1): all are exact, none is 0 or 1.
    cells = tf.cast(tf.bitwise.right_shift(bits, tf.constant(41, tf.uint64)), tf.float32)
    return (cells + 0.5) * 2.0**-23


def number(start: tf.Tensor, index: tf.Tensor | int) -> tf.Tensor:
    """Return number ``index`` of the sequence from ``start``, uint64; both broadcast."""
    step = tf.cast(index, tf.uint64) + tf.constant(1, tf.uint64)
    bits = start + step * tf.constant(_GAMMA, tf.uint64)
    for shift, factor in _ROUNDS:
        bits = _xor_shift(bits, shift) * tf.constant(factor, tf.uint64)
    return _xor_shift(bits, 31)


def _xor_shift(bits: tf.Tensor, shift: int) -> tf.Tensor:
    shifted = tf.bitwise.right_shift(bits, tf.constant(shift, tf.uint64))
    return tf.bitwise.bitwise_xor(bits, shifted)
