"""Triplets across modalities: a positive of the same class, a negative of another one."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from vl_models.losses.distances import distances, pairwise_distances
from vl_models.losses.labels import shares_label


def triplet_rows(
    anchor: tf.Tensor,
    positive: tf.Tensor,
    negative: tf.Tensor,
    margin: float,
    push_weight: float,
) -> tf.Tensor:
    """‖a - p‖ + λ · max(0, μ - ‖a - n‖) of each row.

    Unlike in the usual triplet loss the positive is pulled at any distance.
    Source: Wang et al., "Adversarial Cross-Modal Retrieval", equations 4 and 5.

    Args:
        anchor: [B, D], one modality.
        positive: [B, D], the other modality, same class.
        negative: [B, D], the other modality, another class.
        margin: μ.
        push_weight: λ.

    Returns:
        float32 [B].
    """
    push = tf.nn.relu(margin - distances(anchor, negative))
    return distances(anchor, positive) + push_weight * push


def class_triplet_rows(
    anchors: tf.Tensor,
    candidates: tf.Tensor,
    same: tf.Tensor,
    margin: float,
    push_weight: float,
) -> tf.Tensor:
    """Return the mean of `triplet_rows` over all triplets of each anchor.

    A triplet's terms do not depend on each other, so the mean over all pairs of a positive and a
    negative is the sum of two means. An anchor without negatives is only pulled, one without
    positives only pushed.

    Args:
        anchors: [I, D], one modality.
        candidates: [J, D], the other modality.
        same: bool [I, J], where anchor and candidate share a class.
        margin: μ.
        push_weight: λ.

    Returns:
        float32 [I].
    """
    distance = pairwise_distances(anchors, candidates)
    push = tf.nn.relu(margin - distance)
    return _mean_where(same, distance) + push_weight * _mean_where(~same, push)


def batch_hinge(
    image: tf.Tensor,
    text: tf.Tensor,
    image_negative: tf.Tensor,
    text_negative: tf.Tensor,
    margin: float = 0.1,
    pull_weight: float = 5.0,
) -> tf.Tensor:
    """Return the two hinges of ACMR's released demo: one over the whole batch for each modality.

    max(0, m + α·½‖V - W‖² - ½‖V - W⁻‖²) and its mirror image, squared Frobenius norms. It is
    not the paper's loss: one far pair hides the violations of all others.

    Args:
        image: V [B, D].
        text: W [B, D], of the same items.
        image_negative: V⁻ [B, D], images that the texts are to be far from.
        text_negative: W⁻ [B, D], texts that the images are to be far from.
        margin: m.
        pull_weight: α.

    Returns:
        float32 scalar.
    """

    def half_square(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
        return 0.5 * tf.reduce_sum(tf.square(tf.cast(a, tf.float32) - tf.cast(b, tf.float32)))

    pull = margin + pull_weight * half_square(image, text)
    return tf.nn.relu(pull - half_square(image, text_negative)) + tf.nn.relu(
        pull - half_square(text, image_negative)
    )


def hardest_negatives(features: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """For each row the row of another class whose features are nearest by cosine.

    Args:
        features: [B, d].
        labels: multi-hot [B, C].

    Returns:
        Index int32 [B], and bool [B]: whether there is a row of another class (else the index is
            0).
    """
    unit = tf.math.l2_normalize(tf.cast(features, tf.float32), axis=1)
    other = ~shares_label(labels, labels)
    cosine = tf.where(other, tf.matmul(unit, unit, transpose_b=True), -np.inf)
    return tf.argmax(cosine, axis=1, output_type=tf.int32), tf.reduce_any(other, axis=1)


def _mean_where(chosen: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    """Mean of the chosen values of each row [I, J] -> [I]; 0 where there are none."""
    weights = tf.cast(chosen, tf.float32)
    total = tf.reduce_sum(weights * values, axis=1)
    return tf.math.divide_no_nan(total, tf.reduce_sum(weights, axis=1))
