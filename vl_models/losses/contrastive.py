"""Contrastive losses of dual encoders: CLIP, ALIGN and UniCL are special cases.

Everything here is a pure function on the *global* batch: G images, and G·n texts in
image-major order (texts of image i are i·n … i·n + n - 1). Gathering over replicas happens
in the model. Everything is computed in float32.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from vl_models.choices import PositivesMode

# Finite, so that a masked entry times a zero target is 0 and not NaN.
_MASKED = -1e9


def contrastive_logits(
    image_embedding: tf.Tensor, text_embedding: tf.Tensor, scale: tf.Tensor | float
) -> tf.Tensor:
    """Compute scale · v tᵀ.

    Args:
        image_embedding: unit-norm [G, D].
        text_embedding: unit-norm [G·n, D].
        scale: inverse temperature, scalar.

    Returns:
        float32 [G, G·n].
    """
    image_embedding = tf.cast(image_embedding, tf.float32)
    text_embedding = tf.cast(text_embedding, tf.float32)
    return scale * tf.matmul(image_embedding, text_embedding, transpose_b=True)


def pair_targets(images: tf.Tensor | int, texts: tf.Tensor | int) -> tf.Tensor:
    """Return True where text j belongs to image i by its place in the batch: bool [G, G·n].

    Args:
        images: G.
        texts: G·n.
    """
    owner = tf.range(texts) // (texts // images)
    return tf.range(images)[:, None] == owner[None, :]


def sampling_correction(logits: tf.Tensor, candidate_log_q: tf.Tensor) -> tf.Tensor:
    """Subtract log q of each candidate, its probability of being in the batch (logQ).

    Popular candidates occur in more batches, hence are negatives too often; the correction
    takes that back.
    Source: Yi et al., "Sampling-Bias-Corrected Neural Modeling", section 4.

    Args:
        logits: [rows, candidates].
        candidate_log_q: float32 [candidates].

    Returns:
        float32 [rows, candidates].
    """
    return logits - tf.cast(candidate_log_q, tf.float32)[None, :]


def multi_positive_cross_entropy(
    logits: tf.Tensor,
    targets: tf.Tensor,
    *,
    excluded: tf.Tensor | None = None,
    label_smoothing: float = 0.0,
) -> tf.Tensor:
    """Cross-entropy of every row against its row-normalised targets.

    One positive per row is CLIP's loss; several equal ones are UniCL's,
    -1/|P| Σ_{k in P} log softmax(logits)[k].

    Args:
        logits: [rows, candidates].
        targets: bool or non-negative float [rows, candidates]; a float weighs a positive.
        excluded: bool [rows, candidates]; candidates left out of the softmax ("accidental
            hits removed"). Targets must not be excluded.
        label_smoothing: share ε of the target that is spread evenly over all candidates
            that are not excluded (ALIGN, 0.1).

    Returns:
        float32 [rows]; 0 for a row without a positive.
    """
    logits = tf.cast(logits, tf.float32)
    targets = tf.cast(targets, tf.float32)
    total = tf.reduce_sum(targets, axis=1, keepdims=True)
    targets = tf.math.divide_no_nan(targets, total)
    visible = tf.ones_like(targets)
    if excluded is not None:
        logits = tf.where(excluded, _MASKED, logits)
        visible = tf.cast(~excluded, tf.float32)
    if label_smoothing:
        spread = visible / tf.reduce_sum(visible, axis=1, keepdims=True)
        targets = (1.0 - label_smoothing) * targets + label_smoothing * spread
    losses = -tf.reduce_sum(targets * visible * tf.nn.log_softmax(logits), axis=1)
    return tf.where(total[:, 0] > 0.0, losses, 0.0)


def contrast_rows(
    logits: tf.Tensor,
    positives: tf.Tensor,
    pairs: tf.Tensor,
    *,
    mode: PositivesMode = "uniform",
    label_smoothing: float = 0.0,
) -> tf.Tensor:
    """Cross-entropy of every row against its own pairs and what else is known to fit.

    Args:
        logits: [rows, candidates].
        positives: bool [rows, candidates], see `known_positives`; for mode "graph" float, see
            `soft_positives`.
        pairs: bool [rows, candidates], see `own_pairs`.
        mode: what to do with positives beside the pairs: "uniform" makes them targets of
            equal weight (UniCL), "hide" leaves them out of the softmax, "pairs" treats them as
            negatives (CLIP), "graph" gives each its own weight.
        label_smoothing: see `multi_positive_cross_entropy`.

    Returns:
        float32 [rows].

    Raises:
        ValueError: for an unknown mode.
    """
    excluded = None
    if mode in ("uniform", "graph"):
        targets = positives
    elif mode == "hide":
        targets, excluded = pairs, positives & ~pairs
    elif mode == "pairs":
        targets = pairs
    else:
        raise ValueError(
            f"`mode` must be 'pairs', 'uniform', 'hide' or 'graph'. Received: mode={mode!r}"
        )
    return multi_positive_cross_entropy(
        logits, targets, excluded=excluded, label_smoothing=label_smoothing
    )


def symmetric_contrastive_loss(
    logits: tf.Tensor,
    positives: tf.Tensor | None = None,
    *,
    mode: PositivesMode = "uniform",
    weights: tf.Tensor | None = None,
    label_smoothing: float = 0.0,
    image_log_q: tf.Tensor | None = None,
) -> tf.Tensor:
    """Mean of image-to-text and text-to-image cross-entropy.

    Args:
        logits: [G, G·n].
        positives: [G, G·n], see `contrast_rows`; without it, the pairs of the batch.
        mode: see `contrast_rows`.
        weights: float [G·n], weight of each text and its pair; an image weighs the mean of
            its texts.
        label_smoothing: see `multi_positive_cross_entropy`.
        image_log_q: float [G], log share of each image in the sampling; corrects the
            direction in which images are the candidates.

    Returns:
        float32 scalar.

    Raises:
        ValueError: for an unknown mode.
    """
    logits = tf.cast(logits, tf.float32)
    images, texts = tf.shape(logits)[0], tf.shape(logits)[1]
    pairs = pair_targets(images, texts)
    positives = pairs if positives is None else positives
    options: dict[str, Any] = {"mode": mode, "label_smoothing": label_smoothing}
    to_text = contrast_rows(logits, positives, pairs, **options)
    transposed = tf.transpose(logits)
    if image_log_q is not None:
        transposed = sampling_correction(transposed, image_log_q)
    to_image = contrast_rows(transposed, tf.transpose(positives), tf.transpose(pairs), **options)
    text_weights = tf.ones_like(to_image) if weights is None else tf.cast(weights, tf.float32)
    image_weights = tf.reduce_mean(tf.reshape(text_weights, [images, -1]), axis=1)
    return 0.5 * (_weighted_mean(to_text, image_weights) + _weighted_mean(to_image, text_weights))


def _weighted_mean(values: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    total = tf.reduce_sum(values * weights)
    return tf.math.divide_no_nan(total, tf.reduce_sum(weights))
