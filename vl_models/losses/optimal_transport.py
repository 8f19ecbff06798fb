"""Optimal transport between the words of a text and the regions or patches of its image.

Chen et al., "UNITER: UNiversal Image-TExt Representation Learning", section 3.2 (word-region
alignment); Xie et al., "A Fast Proximal Point Method for Computing Exact Wasserstein Distance",
algorithm 1 (IPOT). ViLT uses the same with patches.
"""

from __future__ import annotations

import tensorflow as tf

# Of norms: shorter vectors count as being that long (the published 1e-5).
_SMALLEST_SQUARE = 1e-10


def transport_distance(
    text: tf.Tensor,
    image: tf.Tensor,
    text_mask: tf.Tensor,
    image_mask: tf.Tensor,
    beta: float = 0.5,
    iterations: int = 50,
    inner: int = 1,
) -> tf.Tensor:
    """Σ_ij C_ij T_ji of each row: what moving the words onto the image costs, C = 1 - cosine.

    The gradient flows through the costs C alone; the plan T is a constant. Everything is computed
    in float32, as half precision overflows.

    Args:
        text: [B, M, H], tokens as the joint encoder gives them.
        image: [B, N, H], likewise regions or patches.
        text_mask: bool [B, M], True = counts. UNITER leaves out padding alone, ViLT the class
            token and the end token too.
        image_mask: bool [B, N], True = counts; ViLT leaves out the class token.
        beta: see `transport_plan`.
        iterations: see `transport_plan`.
        inner: see `transport_plan`.

    Returns:
        float32 [B] in [0, 2]; 0 where one side has nothing that counts.

    Raises:
        ValueError: see `transport_plan`.
    """
    cost = cosine_cost(text, image, text_mask, image_mask)
    plan = transport_plan(cost, text_mask, image_mask, beta, iterations, inner)
    return tf.reduce_sum(cost * tf.linalg.matrix_transpose(plan), axis=[1, 2])


def cosine_cost(
    text: tf.Tensor, image: tf.Tensor, text_mask: tf.Tensor, image_mask: tf.Tensor
) -> tf.Tensor:
    """C = 1 - cosine of every token with every patch, 0 where either does not count.

    Args:
        text: [B, M, H].
        image: [B, N, H].
        text_mask: bool [B, M].
        image_mask: bool [B, N].

    Returns:
        float32 [B, M, N] in [0, 2].
    """
    text, image = _normalize(text), _normalize(image)
    cost = 1.0 - tf.matmul(text, image, transpose_b=True)
    return tf.where(text_mask[:, :, None] & image_mask[:, None, :], cost, 0.0)


def transport_plan(
    cost: tf.Tensor,
    text_mask: tf.Tensor,
    image_mask: tf.Tensor,
    beta: float = 0.5,
    iterations: int = 50,
    inner: int = 1,
) -> tf.Tensor:
    """Inexact proximal point iterations towards the cheapest plan between uniform marginals.

    After any number of iterations the columns of what counts sum to 1 / (tokens that count); the
    rows converge to 1 / (patches that count).

    Args:
        cost: [B, M, N].
        text_mask: bool [B, M], True = counts.
        image_mask: bool [B, N], True = counts.
        beta: step size of the proximal point; a larger one is more exact per iteration and slower.
        iterations: outer iterations.
        inner: Sinkhorn iterations in each.

    Returns:
        T float32 [B, N, M] without gradient, 0 where either side does not count.

    Raises:
        ValueError: a step size that is not positive, or no iterations.
    """
    if beta <= 0.0 or iterations < 1 or inner < 1:
        raise ValueError(
            "`beta`, `iterations` and `inner` must be positive. "
            f"Received: beta={beta}, iterations={iterations}, inner={inner}"
        )
    # The batch is the last axis, along which a processor's wide instructions work: [M, N, B].
    cost = tf.transpose(tf.stop_gradient(tf.cast(cost, tf.float32)), [1, 2, 0])
    words = tf.cast(tf.transpose(text_mask), tf.float32)[:, None, :]
    patches = tf.cast(tf.transpose(image_mask), tf.float32)[None, :, :]
    word_share = tf.math.divide_no_nan(words, tf.reduce_sum(words, axis=0))
    patch_share = tf.math.divide_no_nan(patches, tf.reduce_sum(patches, axis=1))
    both = words * patches
    affinity = tf.exp(tf.where(both > 0.0, cost, 0.0) / -beta) * both

    def iterate(plan: tf.Tensor, word_scale: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        scaled = affinity * plan
        for _ in range(inner):
            to_patches = tf.reduce_sum(scaled * word_scale, axis=0, keepdims=True)
            patch_scale = tf.math.divide_no_nan(patch_share, to_patches)
            to_words = tf.reduce_sum(scaled * patch_scale, axis=1, keepdims=True)
            word_scale = tf.math.divide_no_nan(word_share, to_words)
        return scaled * patch_scale * word_scale, word_scale

    plan, _ = tf.while_loop(
        lambda *_: True,
        iterate,
        (both, word_share),
        maximum_iterations=iterations,
        parallel_iterations=1,
    )
    return tf.stop_gradient(tf.transpose(plan, [2, 1, 0]))


def _normalize(x: tf.Tensor) -> tf.Tensor:
    return tf.math.l2_normalize(tf.cast(x, tf.float32), axis=-1, epsilon=_SMALLEST_SQUARE)
