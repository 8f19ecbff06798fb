"""The interface of tokenisers: strings in, ids and mask out, inside the graph."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import Any, TypedDict

import tensorflow as tf


class TokenBatch(TypedDict):
    """Token ids int32 [B, L] and mask bool [B, L] (True = token, False = padding)."""

    token_ids: tf.Tensor
    text_mask: tf.Tensor


class Tokenizer(abc.ABC):
    """Turns raw queries into ids of fixed length, as part of the exported graph.

    Implementations normalise their input themselves, so that training and the served
    signature cannot differ.

    Attributes:
      vocabulary: all tokens, in the order of their ids.
      max_length: L, special tokens included.
    """

    vocabulary: list[str]
    max_length: int

    @property
    def vocabulary_size(self) -> int:
        """Number of token ids, special ones included."""
        return len(self.vocabulary)

    @property
    @abc.abstractmethod
    def padding_id(self) -> int:
        """Id that fills the rest of a row."""

    @property
    @abc.abstractmethod
    def start_id(self) -> int:
        """Id of the first token of every row."""

    @property
    @abc.abstractmethod
    def end_id(self) -> int:
        """Id of the last token of every row, kept when a text is truncated."""

    @property
    @abc.abstractmethod
    def mask_id(self) -> int | None:
        """Id that replaces tokens in masked language modelling; None if there is none."""

    @property
    def resources(self) -> Sequence[Any]:
        """Tables that a SavedModel with this tokeniser has to track; none by default."""
        return ()

    @abc.abstractmethod
    def tokenize(self, texts: tf.Tensor) -> TokenBatch:
        """Tokenise string [B]; an empty text gives start and end token only."""

    def text_mask(self, token_ids: tf.Tensor) -> tf.Tensor:
        """True up to the end token, which no text can hold; bool, shape of ``token_ids``."""
        ends = tf.cast(token_ids == self.end_id, tf.int32)
        return tf.cumsum(ends, axis=-1, exclusive=True) == 0

    @abc.abstractmethod
    def continuation_mask(self, token_ids: tf.Tensor) -> tf.Tensor:
        """True where a token continues the word of the token before it; bool, same shape."""


def frame_rows(
    pieces: tf.RaggedTensor, *, start_id: int, end_id: int, padding_id: int, max_length: int
) -> TokenBatch:
    """Put start and end token around each row, truncate so that the end stays, and pad.

    Args:
      pieces: ragged int32 [B, (tokens)].
      start_id: first id of every row.
      end_id: last id of every row.
      padding_id: fills the rest.
      max_length: L.

    Returns:
      Ids int32 [B, L] and mask bool [B, L].
    """
    rows = pieces.nrows(out_type=tf.int32)
    pieces = pieces[:, : max_length - 2]
    framed = tf.concat([tf.fill([rows, 1], start_id), pieces, tf.fill([rows, 1], end_id)], axis=1)
    token_ids = framed.to_tensor(default_value=padding_id, shape=[None, max_length])
    lengths = tf.cast(framed.row_lengths(), tf.int32)
    return TokenBatch(token_ids=token_ids, text_mask=tf.sequence_mask(lengths, max_length))
