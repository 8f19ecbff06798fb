"""Negatives of matching: which other image or text a row is put together with."""

from __future__ import annotations

import tensorflow as tf

from vl_models.row_random import draw_uniform

_NEVER = -1e30


def draw_negatives(
    logits: tf.Tensor, forbidden: tf.Tensor, seeds: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Draw one candidate for each row with the probability softmax(logits) of those allowed.

    By the Gumbel-max trick: the largest of logit + Gumbel noise, whose noise comes from the rows'
    seeds, so that resumed trainings and other numbers of replicas draw the same.
    Source: Bao et al., "VLMo: Unified Vision-Language Pre-Training with
    Mixture-of-Modality-Experts", section 3.3 (hard negatives); with equal logits, ViLT's.

    Args:
        logits: float [B, G]; there is no gradient through the draw.
        forbidden: bool [B, G], candidates that are never drawn.
        seeds: int32 [B, 2] of the rows.

    Returns:
        int32 [B], and bool [B]: False where every candidate is forbidden.
    """
    noise = -tf.math.log(-tf.math.log(draw_uniform(seeds, logits.shape[1])))
    scores = tf.stop_gradient(tf.cast(logits, tf.float32)) + noise
    drawn = tf.argmax(tf.where(forbidden, _NEVER, scores), axis=1, output_type=tf.int32)
    return drawn, ~tf.reduce_all(forbidden, axis=1)


def partly_even(logits: tf.Tensor, forbidden: tf.Tensor, share: float) -> tf.Tensor:
    """Mix a softmax with the even distribution over what is allowed.

    Args:
        logits: float [B, G].
        forbidden: bool [B, G], candidates that are never drawn.
        share: of the softmax, above 0 and at most 1.

    Returns:
        float32 [B, G], logarithms of the mixed probabilities; logits for `draw_negatives`.
    """
    logits = tf.where(forbidden, _NEVER, tf.cast(logits, tf.float32))
    allowed = tf.reduce_sum(tf.cast(~forbidden, tf.float32), axis=1, keepdims=True)
    even = (1.0 - share) / tf.maximum(allowed, 1.0)
    return tf.math.log(share * tf.nn.softmax(logits, axis=1) + even)


def draw_several(
    forbidden: tf.Tensor, seeds: tf.Tensor, count: int, logits: tf.Tensor | None = None
) -> tuple[tf.Tensor, tf.Tensor]:
    """Draw several candidates for each row without replacement.

    Args:
        forbidden: bool [B, G], candidates that are never drawn.
        seeds: int32 [B, 2] of the rows.
        count: how many.
        logits: float [B, G], each next one has the probability softmax(logits) of those left
            (Kool et al., "Stochastic Beams and Where to Find Them", section 2.3); evenly without.

    Returns:
        int32 [B, count], and bool [B, count]: False where no candidate was left.
    """
    drawn = draw_uniform(seeds, forbidden.shape[1])
    if logits is not None:
        drawn = tf.stop_gradient(logits) - tf.math.log(-tf.math.log(drawn))
    values, chosen = tf.math.top_k(
        tf.where(forbidden, _NEVER, drawn), min(count, forbidden.shape[1])
    )
    return chosen, values > _NEVER


def half_of(uniform: tf.Tensor) -> tf.Tensor:
    """Return True for the smaller half of numbers, rounded up: bool of the shape [G]."""
    rank = tf.argsort(tf.argsort(uniform))
    return rank < (tf.shape(uniform)[0] + 1) // 2
