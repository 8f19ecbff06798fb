"""Fixed positions of a grid."""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf


def sine_positions(valid: Any, width: int, temperature: float = 10_000.0) -> tf.Tensor:
    """Sines and cosines of row, then of column, each in half of the width.

    Rows and columns are counted within the part of each grid that is no padding, and their numbers
    are brought to (0, 2π]: the grid of a small picture spans what that of a large one does.
    Source: Carion et al., "End-to-End Object Detection with Transformers", published program
    (normalised sine positions), which SOHO uses.

    Args:
        valid: bool [B, rows, columns].
        width: W, a multiple of 4.
        temperature: base of the wavelengths.

    Returns:
        float32 [B, rows, columns, W].

    Raises:
        ValueError: a width that is no multiple of 4.
    """
    if width % 4:
        raise ValueError(f"The width must be a multiple of 4. Received: width={width}")
    mask = tf.cast(valid, tf.float32)
    half = width // 2
    # Two neighbours, a sine and a cosine, share a wavelength.
    exponent = tf.cast(2 * (tf.range(half) // 2), tf.float32) / half
    wavelength = tf.pow(temperature, exponent)
    halves = []
    for axis in (1, 2):
        number = tf.cumsum(mask, axis=axis)
        last = tf.reduce_max(number, axis=axis, keepdims=True)
        angle = 2.0 * math.pi * number / (last + 1e-6)
        angle = angle[..., None] / wavelength
        pairs = tf.stack([tf.sin(angle[..., 0::2]), tf.cos(angle[..., 1::2])], axis=-1)
        halves.append(tf.reshape(pairs, tf.shape(angle)))
    positions = tf.concat(halves, axis=-1)
    return tf.ensure_shape(positions, [*valid.shape, width])
