"""The sequences before the first block, as a fusion model and its tasks pass them on in outputs."""

from __future__ import annotations

import tensorflow as tf

from vl_models.batch import Batch, Outputs
from vl_models.fusion.tokens import Tokens
from vl_models.row_random import stream_seed

_PAIR = 4300


def embedded_text(outputs: Outputs) -> Tokens:
    """The first text of each row, as embedded: pairs are scored one text per image."""
    rows = outputs["text_embedded"].shape[0]
    images = outputs.get("image_embedded")
    step = 1 if images is None or not rows else rows // images.shape[0]
    return Tokens(outputs["text_embedded"][::step], outputs["text_embedded_mask"][::step])


def embedded_image(outputs: Outputs) -> Tokens:
    """The images, as embedded."""
    return Tokens(outputs["image_embedded"], outputs["image_embedded_mask"])


def pair_seeds(batch: Batch, stream: int) -> tf.Tensor | None:
    """Seeds int32 [B, 2] of one pass over the pairs of a batch; None without seeds."""
    if "seed" not in batch:
        return None
    return stream_seed(batch["seed"], _PAIR + stream)
