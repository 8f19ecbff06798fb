"""Texts and images of the global batch put together otherwise than they came."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from vl_models.batch import Batch, Outputs
from vl_models.fusion.embedded import embedded_image, embedded_text, first_texts, pair_seeds
from vl_models.fusion.tokens import Fused, Tokens, concatenate
from vl_models.losses.positives import PairHashes, known_positives, own_pairs


@dataclass(frozen=True)
class Mismatches:
    """Who may be put together with whom as a negative, for the rows of this replica.

    Attributes:
        images: bool [B, G], images of the global batch that are no negatives of text i.
        texts: bool [B, G], texts of the global batch that are no negatives of image i.
        index: int32 [B], places of the rows in the global batch.
    """

    images: tf.Tensor
    texts: tf.Tensor
    index: tf.Tensor

    @classmethod
    def of_batch(cls, batch: Batch, rows: int, exclude_known: bool) -> Mismatches:
        """Forbid what is known to match, or the pair itself alone.

        Args:
            batch: of this replica; of n texts per image the first ones count.
            rows: B.
            exclude_known: whether known clicks are no negatives either.
        """
        first = dict(batch)
        if "query_hash" in batch:
            first["query_hash"] = first_texts(batch["query_hash"], rows)
        own = PairHashes.of_batch(first, rows, rows)
        everyone = own.gathered()
        match = known_positives if exclude_known else own_pairs
        return cls(
            images=tf.transpose(match(everyone, own)),
            texts=match(own, everyone),
            index=own.index,
        )


@dataclass(frozen=True)
class Pass:
    """One pass of a joint encoder over the rows of a batch, some with another text or image.

    Attributes:
        texts: int32 [B], places of the texts in the global batch.
        images: int32 [B], places of the images.
        labels: float32 [B], 1 = a pair.
        weights: float32 [B], 0 = does not count.
    """

    texts: tf.Tensor
    images: tf.Tensor
    labels: tf.Tensor
    weights: tf.Tensor


def joined(passes: list[Pass]) -> Pass:
    """Return several passes as one."""
    columns = ("texts", "images", "labels", "weights")
    return Pass(*(tf.concat([getattr(one, name) for one in passes], axis=0) for name in columns))


def fuse_passes(
    model: Any, batch: Batch, outputs: Outputs, passes: list[Pass], training: bool
) -> Fused:
    """Read all passes in one, [passes · B] rows.

    Args:
        model: a fusion model.
        batch: of this replica.
        outputs: hold the embedded sequences.
        passes: each of B rows; texts and images come from all replicas, with gradient.
        training: whether something is dropped; every pass has randomness of its own.
    """
    text, image = embedded_text(outputs), embedded_image(outputs)
    all_texts, all_images = text.gathered(), image.gathered()
    seeds = [pair_seeds(batch, place) for place in range(len(passes))]
    return model.fuse(
        concatenate([all_texts.rows(one.texts) for one in passes]),
        concatenate([all_images.rows(one.images) for one in passes]),
        tf.concat(seeds, axis=0) if training and "seed" in batch else None,
        training,
    )


def pass_tokens(tokens: Tokens, prefix: str) -> Outputs:
    """Return tokens under the names of outputs."""
    return {f"{prefix}_tokens": tokens.values, f"{prefix}_mask": tokens.mask}
