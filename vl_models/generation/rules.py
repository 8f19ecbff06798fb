"""Which tokens may come next."""

from __future__ import annotations

from dataclasses import dataclass

import tensorflow as tf

from vl_models.generation.config import CaptionConfig, CaptionTokens

# Added to log-probabilities. Where every token is against a rule, one that only repeats something
# is still better than one that is no word; and both are better than a text that is no candidate.
_REPEATED, _NEVER = -1e9, -2e9


@dataclass(frozen=True)
class Rules:
    """What a text must not hold.

    Attributes:
        tokens: of the vocabulary.
        min_length: tokens before the end token, at least.
        no_repeat_ngram: n-grams of this size occur once; 0 for no such rule.
    """

    tokens: CaptionTokens
    min_length: int = 0
    no_repeat_ngram: int = 0

    @classmethod
    def of(cls, config: CaptionConfig, tokens: CaptionTokens) -> Rules:
        """Return the rules of a configuration."""
        return cls(tokens, config.min_length, config.no_repeat_ngram)

    def penalties(self, sequences: tf.Tensor, place: tf.Tensor, vocabulary: int) -> tf.Tensor:
        """Return what is added to the log-probabilities of the token at ``place`` + 1.

        Args:
            sequences: int32 [N, T], the start token and what was written so far.
            place: int32 scalar, that of the last token.
            vocabulary: V.

        Returns:
            float32 [N, V]: 0 for tokens that may come next.
        """
        unwanted = [token for token in self.tokens.never if token < vocabulary]
        never = tf.reduce_max(tf.one_hot(unwanted, vocabulary), axis=0) if unwanted else 0.0
        early = tf.cast(place < self.min_length, tf.float32)
        end = tf.one_hot(self.tokens.end, vocabulary)
        added = _NEVER * tf.maximum(never, early * end)
        added = tf.broadcast_to(added, [tf.shape(sequences)[0], vocabulary])
        if self.no_repeat_ngram:
            added += _REPEATED * self._repeats(sequences, place, vocabulary)
        return added

    def _repeats(self, sequences: tf.Tensor, place: tf.Tensor, vocabulary: int) -> tf.Tensor:
        """Tokens that would end an n-gram which is there already: float32 [N, V], 1 or more."""
        size, length = self.no_repeat_ngram, sequences.shape[1]
        starts = length - size + 1
        if starts < 1:
            return tf.zeros([tf.shape(sequences)[0], vocabulary])
        # The n - 1 tokens up to ``place``, compared with those from every start.
        last = tf.maximum(place - size + 2 + tf.range(size - 1), 0)
        context = tf.gather(sequences, last, axis=1)
        same = tf.ones([tf.shape(sequences)[0], starts], tf.bool)
        for offset in range(size - 1):
            same &= sequences[:, offset : offset + starts] == context[:, offset, None]
        # An n-gram is there if it begins behind the start token and ends at ``place`` or before.
        first = tf.range(starts)
        same &= (first >= 1) & (first + size - 1 <= place) & (place >= size - 1)
        row = tf.repeat(tf.range(tf.shape(sequences)[0])[:, None], starts, axis=1)
        index = tf.stack([row, sequences[:, size - 1 :]], axis=-1)
        shape = tf.stack([tf.shape(sequences)[0], vocabulary])
        return tf.scatter_nd(index, tf.cast(same, tf.float32), shape)
