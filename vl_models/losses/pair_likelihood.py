"""Negative log-likelihood of pairs: sigmoid(θ) is the probability of a shared class."""

from __future__ import annotations

import tensorflow as tf


def pair_likelihood(theta: tf.Tensor, same: tf.Tensor) -> tf.Tensor:
    """log(1 + e^θ) - S·θ of every pair.

    Source: Zhen et al., "Deep Supervised Cross-Modal Retrieval", equation 6; Li et al.,
    "Self-Supervised Adversarial Hashing Networks for Cross-Modal Retrieval", equation 2 (whose
    released code takes half the squared gap of the two terms instead).

    Args:
        theta: float [I, J].
        same: bool or float in [0, 1], [I, J].

    Returns:
        float32 [I, J].
    """
    theta = tf.cast(theta, tf.float32)
    return tf.nn.softplus(theta) - tf.cast(same, tf.float32) * theta


def half_cosine(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """θ = ½ cos(aᵢ, bⱼ), DSCMR's: float32 [I, J] of [I, D] and [J, D]."""
    unit_a, unit_b = (tf.math.l2_normalize(tf.cast(x, tf.float32), axis=1) for x in (a, b))
    return half_product(unit_a, unit_b)


def half_product(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """θ = ½ aᵢ·bⱼ, SSAH's: float32 [I, J] of [I, D] and [J, D]."""
    return 0.5 * tf.matmul(tf.cast(a, tf.float32), tf.cast(b, tf.float32), transpose_b=True)
