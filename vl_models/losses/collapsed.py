"""Outputs of a model that tells nothing apart; a loss of them is what a collapsed run ends at."""

from __future__ import annotations

import tensorflow as tf

from vl_models.batch import Outputs
from vl_models.distribution import all_gather

_EMBEDDINGS = ("image_embedding", "text_embedding")


def with_equal_logits(outputs: Outputs) -> Outputs:
    """Return the outputs with zeros for embeddings, so that all cosines are equal.

    For losses by a softmax, which does not see a constant on its logits: its value is then
    ln(candidates), however the candidates are weighed, smoothed or left out. Keys stay as they
    are; products with them are 0, too.

    Args:
        outputs: of `VisionLanguageModel.forward`.

    Returns:
        The same keys, with zeros for ``image_embedding`` and ``text_embedding``.
    """
    zeros = {key: tf.zeros_like(outputs[key]) for key in _EMBEDDINGS if key in outputs}
    return {**outputs, **zeros}


def with_mean_embeddings(outputs: Outputs) -> Outputs:
    """Return the outputs with every embedding replaced by its modality's mean, in replica context.

    For losses that see the size of a logit: images and texts collapse to one point each, whose
    cosine the mean keeps.

    Args:
        outputs: of `VisionLanguageModel.forward`.

    Returns:
        The same keys, with the mean over the global batch in every row of ``image_embedding`` and
        ``text_embedding``.
    """
    means = {
        key: tf.zeros_like(outputs[key]) + tf.reduce_mean(all_gather(outputs[key]), axis=0)
        for key in _EMBEDDINGS
        if key in outputs
    }
    return {**outputs, **means}
