"""The interface of tokenisers: strings in, ids and mask out, inside the graph."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import Any, TypedDict

import tensorflow as tf

from vl_models.generation.config import CaptionTokens


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
        padding_id: fills the rest of a row.
        start_id: the first token of every row.
        end_id: the last token of every row, kept when a text is truncated.
        mask_id: replaces tokens in masked language modelling; None if there is none.
    """

    vocabulary: list[str]
    max_length: int
    padding_id: int
    start_id: int
    end_id: int
    mask_id: int | None

    @property
    def vocabulary_size(self) -> int:
        """Number of token ids, special ones included."""
        return len(self.vocabulary)

    @property
    def resources(self) -> Sequence[Any]:
        """Tables that a SavedModel with this tokeniser has to track; none by default."""
        return ()

    @property
    @abc.abstractmethod
    def caption_tokens(self) -> CaptionTokens:
        """What writing a text with this vocabulary takes."""

    @abc.abstractmethod
    def detokenize(self, token_ids: tf.Tensor) -> tf.Tensor:
        """Put texts together again, up to the end token: int32 [B, L] to string [B]."""

    @abc.abstractmethod
    def tokenize(self, texts: tf.Tensor) -> TokenBatch:
        """Tokenise string [B]; an empty text gives start and end token only."""

    def frame(self, pieces: tf.RaggedTensor) -> TokenBatch:
        """Put start and end token around each row, truncate so that the end stays, and pad.

        Args:
            pieces: ragged int32 [B, (tokens)].

        Returns:
            Ids int32 [B, L] and mask bool [B, L].
        """
        room = self.max_length - 2
        splits = tf.cast(pieces.row_splits, tf.int32)
        lengths = tf.minimum(splits[1:] - splits[:-1], room)[:, tf.newaxis]
        # Cut and padded; a ragged concatenation would take many operations.
        kept = pieces.to_tensor(default_value=self.padding_id, shape=[None, room])
        spread = tf.pad(kept, [[0, 0], [1, 1]], constant_values=self.padding_id)
        place = tf.range(self.max_length)[tf.newaxis]
        token_ids = tf.where(place == lengths + 1, self.end_id, spread)
        token_ids = tf.where(place == 0, self.start_id, token_ids)
        return TokenBatch(token_ids=token_ids, text_mask=place < lengths + 2)

    def text_mask(self, token_ids: tf.Tensor) -> tf.Tensor:
        """Return True up to the end token, which no text can hold; bool, shape of ``token_ids``."""
        ends = tf.cast(token_ids == self.end_id, tf.int32)
        return tf.cumsum(ends, axis=-1, exclusive=True) == 0

    def written(self, token_ids: tf.Tensor) -> tf.Tensor:
        """Return True for tokens of the text itself: not its frame, nor what is behind its end."""
        return self.text_mask(token_ids) & (token_ids != self.start_id) & (token_ids != self.end_id)

    @abc.abstractmethod
    def continuation_mask(self, token_ids: tf.Tensor) -> tf.Tensor:
        """Return True where a token continues the word of the token before it; bool, same shape."""
