"""The sequences before the first block, as a fusion model and its tasks pass them on in outputs."""

from __future__ import annotations

import tensorflow as tf

from vl_models.batch import Batch, Outputs
from vl_models.fusion.tokens import Tokens
from vl_models.row_random import stream_seed

_PAIR = 4300


def has_pairs(outputs: Outputs) -> bool:
    """Whether both modalities were embedded."""
    return {"text_embedded", "image_embedded"} <= outputs.keys()


def first_texts(values: tf.Tensor, rows: int) -> tf.Tensor:
    """Of values [B·n, ...] of texts those of the first text of each row: [B, ...]."""
    return values[:: values.shape[0] // rows]


def embedded_text(outputs: Outputs) -> Tokens:
    """The first text of each row, as embedded: pairs are scored one text per image."""
    tokens = Tokens(outputs["text_embedded"], outputs["text_embedded_mask"])
    rows = outputs["image_embedded"].shape[0]
    # Of exported signatures the number of rows is unknown; they have one text for each image.
    return tokens if rows is None else Tokens(*(first_texts(part, rows) for part in tokens))


def embedded_image(outputs: Outputs) -> Tokens:
    """The images, as embedded."""
    return Tokens(outputs["image_embedded"], outputs["image_embedded_mask"])


def pair_seeds(batch: Batch, stream: int) -> tf.Tensor | None:
    """Seeds int32 [B, 2] of one pass over the pairs of a batch; None without seeds."""
    if "seed" not in batch:
        return None
    return stream_seed(batch["seed"], _PAIR + stream)
