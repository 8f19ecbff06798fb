"""Sequences that joint encoders read and make."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from vl_models.distribution import all_gather


class Tokens(NamedTuple):
    """Token vectors of one modality.

    Attributes:
        values: [B, L, W].
        mask: bool [B, L], True = token, False = padding.
    """

    values: tf.Tensor
    mask: tf.Tensor

    def rows(self, index: tf.Tensor) -> Tokens:
        """Rows by their index, int32 [P]; with gradient."""
        return Tokens(tf.gather(self.values, index), tf.gather(self.mask, index))

    def gathered(self) -> Tokens:
        """Rows of all replicas, with gradient."""
        return Tokens(all_gather(self.values), all_gather(self.mask))


class Fused(NamedTuple):
    """What a joint encoder makes of texts and images.

    Attributes:
        text: the text's tokens after the last norm.
        image: the image's tokens after the last norm, the class token first.
        pooled: [B, W], a vector of the pair.
    """

    text: Tokens
    image: Tokens
    pooled: tf.Tensor


def concatenate(parts: list[Tokens]) -> Tokens:
    """Put the rows of several batches below each other."""
    return Tokens(
        tf.concat([part.values for part in parts], axis=0),
        tf.concat([part.mask for part in parts], axis=0),
    )


def side_by_side(text: Tokens, image: Tokens) -> Tokens:
    """Put the tokens of each text before those of its image."""
    return Tokens(
        tf.concat([text.values, image.values], axis=1),
        tf.concat([text.mask, image.mask], axis=1),
    )


def fused(x: tf.Tensor, text: Tokens, image: Tokens, pooled: tf.Tensor) -> Fused:
    """Take what a joint encoder makes of `side_by_side` sequences, [B, S, W], apart again."""
    length = text.values.shape[1]
    return Fused(Tokens(x[:, :length], text.mask), Tokens(x[:, length:], image.mask), pooled)
