"""The symmetric contrastive loss of a batch that is spread over replicas, in three forms.

With R replicas of b rows and the global batch G = R·b:

=========  ==========================  ==================  ===============================
form       logits on a replica         gathers carry       gradient of the towers
=========  ==========================  ==================  ===============================
global     [G, G·n], all rows          gradient            that of one device
local      [b, G·n] and [b·n, G]       gradient            that of one device
detached   [G, G·n], all rows          none: only own      1/R of it, that of the
                                       rows are live       temperature exact
=========  ==========================  ==================  ===============================

"local" needs 1/R of the memory for logits. "detached" is the form of open_clip's default and
of VLMo; it saves the gather's backward pass. Adam hides the factor, SGD and clipping do not.
"""

from __future__ import annotations

import tensorflow as tf

from vl_models.choices import GatherForm, PositivesMode
from vl_models.distribution import all_gather, all_gather_detached, global_mean
from vl_models.losses.contrastive import (
    contrast_rows,
    contrastive_logits,
    sampling_correction,
    symmetric_contrastive_loss,
)
from vl_models.losses.positives import PairHashes, own_pairs, positives_of


def gathered_contrastive_loss(
    image_embedding: tf.Tensor,
    text_embedding: tf.Tensor,
    scale: tf.Tensor | float,
    hashes: PairHashes,
    *,
    form: GatherForm = "global",
    mode: PositivesMode = "uniform",
    label_smoothing: float = 0.0,
    weights: tf.Tensor | None = None,
    image_log_q: tf.Tensor | None = None,
) -> tf.Tensor:
    """Compute `symmetric_contrastive_loss` of the global batch, in replica context.

    Args:
        image_embedding: unit-norm [b, D] of this replica.
        text_embedding: unit-norm [b·n, D] of this replica, image-major.
        scale: inverse temperature, scalar.
        hashes: of this replica's rows.
        form: see the module.
        mode: see `contrast_rows`.
        label_smoothing: see `multi_positive_cross_entropy`.
        weights: float [b·n], weight of each text and its pair.
        image_log_q: float [b], see `symmetric_contrastive_loss`.

    Returns:
        float32 scalar, the same on every replica.
    """
    gather = all_gather_detached if form == "detached" else all_gather
    images, texts = gather(image_embedding), gather(text_embedding)
    everyone = hashes.gathered()
    log_q = None if image_log_q is None else all_gather(image_log_q)
    positives = positives_of(mode)
    if form != "local":
        return symmetric_contrastive_loss(
            contrastive_logits(images, texts, scale),
            positives(everyone, everyone),
            mode=mode,
            weights=None if weights is None else all_gather(weights),
            label_smoothing=label_smoothing,
            image_log_q=log_q,
        )
    to_text = contrast_rows(
        contrastive_logits(image_embedding, texts, scale),
        positives(hashes, everyone),
        own_pairs(hashes, everyone),
        mode=mode,
        label_smoothing=label_smoothing,
    )
    logits = contrastive_logits(text_embedding, images, scale)
    to_image = contrast_rows(
        logits if log_q is None else sampling_correction(logits, log_q),
        tf.transpose(positives(everyone, hashes)),
        tf.transpose(own_pairs(everyone, hashes)),
        mode=mode,
        label_smoothing=label_smoothing,
    )
    if weights is None:
        return 0.5 * (global_mean(to_text) + global_mean(to_image))
    image_weights = tf.reduce_mean(tf.reshape(weights, [-1, hashes.texts_per_image]), axis=1)
    return 0.5 * (global_mean(to_text, image_weights) + global_mean(to_image, weights))
