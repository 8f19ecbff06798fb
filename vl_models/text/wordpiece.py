"""WordPiece, from a local vocabulary: ours or that of a BERT model."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf
import tensorflow_text as tf_text

from vl_models.errors import UserError
from vl_models.generation.config import CaptionTokens
from vl_models.text import vocabulary as vocabularies
from vl_models.text.detokenize import join_words
from vl_models.text.tokenizer import TokenBatch, Tokenizer
from vl_models.text.words import bert_normalize


class WordPieceTokenizer(Tokenizer):
    """`[CLS]` pieces `[SEP]` `[PAD]`…, greedy longest match in every word (BERT).

    The vocabulary is a constant of the graph: an exported signature needs no file.

    Args:
        vocabulary: tokens in the order of their ids, with the five special ones.
        max_length: L, at least 3.
        strip_accents: as uncased BERT does; False for vocabularies that hold accents.

    Raises:
        UserError: if the vocabulary is not valid or ``max_length`` is below 3.
    """

    def __init__(
        self, vocabulary: Sequence[str], max_length: int, strip_accents: bool = True
    ) -> None:
        vocabularies.check_vocabulary(vocabulary, "The WordPiece vocabulary")
        if max_length < 3:
            raise UserError(
                "max_length must leave room for [CLS], one token and [SEP]. "
                f"Received: max_length={max_length}."
            )
        self.vocabulary = list(vocabulary)
        self.max_length = max_length
        self.strip_accents = strip_accents
        self.padding_id, self.start_id, self.end_id, self.mask_id = map(
            self.vocabulary.index,
            (vocabularies.PADDING, vocabularies.START, vocabularies.END, vocabularies.MASK),
        )
        with tf.init_scope():
            # Splits words and matches pieces in one pass.
            self._pieces = tf_text.FastWordpieceTokenizer(
                [_matchable(token) for token in self.vocabulary],
                token_out_type=tf.int32,
                unknown_token=vocabularies.UNKNOWN,
            )

    def tokenize(self, texts: tf.Tensor) -> TokenBatch:
        """Tokenise raw or normalised queries.

        Args:
            texts: string [B].

        Returns:
            ``token_ids`` int32 [B, L] and ``text_mask`` bool [B, L].
        """
        return self.frame(self._pieces.tokenize(bert_normalize(texts, self.strip_accents)))

    @property
    def caption_tokens(self) -> CaptionTokens:
        """See `Tokenizer`; a text holds no special token but its last."""
        special = tuple(map(self.vocabulary.index, vocabularies.SPECIAL_TOKENS))
        return CaptionTokens(
            start=self.start_id,
            end=self.end_id,
            padding=self.padding_id,
            never=tuple(token for token in special if token != self.end_id),
        )

    def detokenize(self, token_ids: tf.Tensor) -> tf.Tensor:
        """See `Tokenizer`; pieces go to the word that they continue."""
        kept = self.written(token_ids) & (token_ids != self.padding_id)
        pieces = tf.where(kept, tf.gather(tf.constant(self.vocabulary), token_ids), "")
        joined = tf.strings.reduce_join(pieces, axis=-1, separator=" ")
        return join_words(tf.strings.regex_replace(joined, " +##", ""))

    def continuation_mask(self, token_ids: tf.Tensor) -> tf.Tensor:
        """Return True for pieces that start with ``##``; bool, shape of ``token_ids``."""
        prefix = vocabularies.CONTINUATION_PREFIX
        continues = [token.startswith(prefix) for token in self.vocabulary]
        return tf.gather(tf.constant(continues), token_ids)


def _matchable(token: str) -> str:
    """Return a token as it is, but for white space in it, which would end words in their midst.

    Brackets are words of their own: what stands in for such a token matches no text.
    """
    has_space = len(token) > 1 and any(map(str.isspace, token))
    return f"[{token.encode().hex()}]" if has_space else token
