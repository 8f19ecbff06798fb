"""Binary codes: from real values to packed bits, and distances between them."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from vl_models.layers.projection import l2_normalize

_BITS = 8


def sign(values: tf.Tensor) -> tf.Tensor:
    """Codes in {-1, 1} of the same shape, float32; the sign of 0 is +1."""
    return tf.where(tf.cast(values, tf.float32) >= 0.0, 1.0, -1.0)


def direction(values: tf.Tensor) -> tf.Tensor:
    """Real-valued codes as unit-norm float32 [B, c]; that of all zeros is its sign's."""
    values = tf.cast(values, tf.float32)
    nothing = tf.reduce_all(values == 0.0, axis=-1, keepdims=True)
    return l2_normalize(tf.where(nothing, 1.0, values))


def pack(values: tf.Tensor) -> tf.Tensor:
    """Signs as bits, the least significant first: float [B, c] to uint8 [B, c / 8].

    FAISS' binary indexes and `numpy.unpackbits(…, bitorder="little")` read them so.

    Raises:
        ValueError: c is no multiple of 8.
    """
    bits = values.shape[-1]
    if bits is None or bits % _BITS:
        raise ValueError(f"The number of bits must be a multiple of 8. Received: {bits}")
    is_set = tf.cast(tf.cast(values, tf.float32) >= 0.0, tf.int32)
    groups = tf.reshape(is_set, [-1, bits // _BITS, _BITS])
    return tf.cast(tf.reduce_sum(groups * [1 << place for place in range(_BITS)], axis=2), tf.uint8)


def unpack(codes: np.ndarray) -> np.ndarray:
    """Packed bits uint8 [B, c / 8] to codes in {-1, 1}, int8 [B, c]."""
    bits = np.unpackbits(codes, axis=1, bitorder="little").astype(np.int8)
    return 2 * bits - 1


def hamming_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Number of differing bits of every pair: uint8 [I, c / 8] and [J, c / 8] to int32 [I, J].

    d = (c - ⟨a, b⟩) / 2 of codes in {-1, 1}; a product of matrices is faster than counting.
    """
    left, right = unpack(a).astype(np.float32), unpack(b).astype(np.float32)
    return ((left.shape[1] - left @ right.T) / 2).astype(np.int32)
