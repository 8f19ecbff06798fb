"""The pairwise sigmoid loss of SigLIP."""

from __future__ import annotations

import tensorflow as tf

from vl_models.choices import PositivesMode


def pairwise_sigmoid_sums(
    logits: tf.Tensor,
    positives: tf.Tensor,
    pairs: tf.Tensor,
    *,
    mode: PositivesMode = "uniform",
) -> tf.Tensor:
    """Sum over images of -log sigmoid(± logit) for every text: + for matches, - for the rest.

    Every pair of the batch is a binary classification of its own; no softmax couples them.
    Source: Zhai et al., "Sigmoid Loss for Language Image Pre-Training", equation 1.

    Args:
        logits: scale · cosine + bias, [I, T].
        positives: bool [I, T], see `known_positives`; for mode "graph" float, see
            `soft_positives`.
        pairs: bool [I, T], see `own_pairs`.
        mode: positives beside the pairs match ("uniform"), are left out ("hide") or do not
            match ("pairs", as published); with "graph" each pair matches with its own probability.

    Returns:
        float32 [T]. Its mean over the texts of a batch is SigLIP's loss.

    Raises:
        ValueError: for an unknown mode.
    """
    if mode not in ("pairs", "uniform", "hide", "graph"):
        raise ValueError(
            f"`mode` must be 'pairs', 'uniform', 'hide' or 'graph'. Received: mode={mode!r}"
        )
    matches = tf.cast(positives if mode in ("uniform", "graph") else pairs, tf.float32)
    losses = tf.nn.sigmoid_cross_entropy_with_logits(matches, tf.cast(logits, tf.float32))
    if mode == "hide":
        losses = tf.where(positives & ~pairs, 0.0, losses)
    return tf.reduce_sum(losses, axis=0)
