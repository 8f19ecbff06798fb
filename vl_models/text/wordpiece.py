"""WordPiece, from a local vocabulary: ours or that of a BERT model."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf
import tensorflow_text as tf_text

from vl_models.errors import UserError
from vl_models.text import vocabulary as vocabularies
from vl_models.text.tokenizer import TokenBatch, Tokenizer


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
            # Words arrive split: whatever splits them here splits them for the learner.
            self._pieces = tf_text.FastWordpieceTokenizer(
                self.vocabulary,
                token_out_type=tf.int32,
                unknown_token=vocabularies.UNKNOWN,
                no_pretokenization=True,
            )

    def tokenize(self, texts: tf.Tensor) -> TokenBatch:
        """Tokenise raw or normalised queries.

        Args:
            texts: string [B].

        Returns:
            ``token_ids`` int32 [B, L] and ``text_mask`` bool [B, L].
        """
        words = vocabularies.split_words(texts, self.strip_accents)
        return self.frame(self._pieces.tokenize(words).merge_dims(1, 2))

    def continuation_mask(self, token_ids: tf.Tensor) -> tf.Tensor:
        """Return True for pieces that start with ``##``; bool, shape of ``token_ids``."""
        prefix = vocabularies.CONTINUATION_PREFIX
        continues = [token.startswith(prefix) for token in self.vocabulary]
        return tf.gather(tf.constant(continues), token_ids)
