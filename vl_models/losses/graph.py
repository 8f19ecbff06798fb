"""Smoothness of codes on a graph of neighbours."""

from __future__ import annotations

import tensorflow as tf


def laplacian_penalty(codes: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """tr(Fᵀ (D - W) F) = ½ Σᵢⱼ Wᵢⱼ ‖fᵢ - fⱼ‖², D being the diagonal of W's row sums.

    Neighbours are drawn together. TFNH's released code has W - D instead, which drives them
    apart (Hu et al., "Triplet Fusion Network Hashing for Unpaired Cross-Modal Retrieval").

    Args:
        codes: F [B, D].
        weights: W [B, B], symmetric, not negative.

    Returns:
        float32 scalar ≥ 0; 0 where all neighbours have the same code.
    """
    codes, weights = tf.cast(codes, tf.float32), tf.cast(weights, tf.float32)
    degrees = tf.reduce_sum(weights, axis=1)
    spread = tf.reduce_sum(degrees * tf.reduce_sum(tf.square(codes), axis=1))
    return spread - tf.reduce_sum(codes * tf.matmul(weights, codes))


def feature_neighbours(features: tf.Tensor, share: float = 0.05) -> tf.Tensor:
    """W = A Aᵀ, where A marks what is nearer than a share of the largest distance.

    Args:
        features: [B, d].
        share: of the largest distance in the batch; TFNH's code has 1/20.

    Returns:
        float32 [B, B]: the number of common neighbours, symmetric.
    """
    features = tf.cast(features, tf.float32)
    squares = tf.reduce_sum(tf.square(features), axis=1)
    squared = squares[:, None] + squares[None, :]
    squared -= 2.0 * tf.matmul(features, features, transpose_b=True)
    distance = tf.sqrt(tf.maximum(squared, 0.0))
    near = tf.cast(distance < share * tf.reduce_max(distance), tf.float32)
    near = tf.linalg.set_diag(near, tf.ones_like(squares))  # whatever rounding did to 0
    return tf.stop_gradient(tf.matmul(near, near, transpose_b=True))
