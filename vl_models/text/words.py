"""Splitting texts into words as BERT does, in few operations: every query pays for each.

Words end at white space; punctuation marks and CJK characters are words of their own.
Source: Devlin et al., "BERT: Pre-training of Deep Bidirectional Transformers for Language
Understanding"; Song et al., "Fast WordPiece Tokenization", section 4, for splitting and matching in
one pass.
"""

from __future__ import annotations

import functools

import tensorflow as tf
import tensorflow_text as tf_text

from vl_models.text.invisible import drop_never_needed
from vl_models.text.normalize import normalize_queries

_MARKS = r"\p{Mn}+"
# Where the splitter need not know what white space is. \x{2800} is the blank of Braille.
_SPACES = r"[\p{Cc}\p{Cf}\p{Z}\x{2800}]+"
_UNKNOWN = "[UNK]"
_NO_CHARACTER = "\U0010ffff"


def bert_normalize(texts: tf.Tensor, strip_accents: bool = True) -> tf.Tensor:
    """Normalise texts so far that nothing but splitting is left.

    Args:
        texts: string [B], raw or normalised. Bytes that are not UTF-8 count as white space.
        strip_accents: drop combining marks ("café" becomes "cafe"), as uncased BERT does.

    Returns:
        string [B]: words and punctuation marks as a vocabulary spells them, and spaces.
    """
    texts = tf.strings.unicode_transcode(
        texts, "UTF-8", "UTF-8", errors="replace", replacement_char=ord(" ")
    )
    if strip_accents:
        # Case folding is NFKC_Casefold: it drops the invisible characters that `normalize_queries`
        # would look at one by one, all but what ends a text for it.
        texts = tf_text.case_fold_utf8(drop_never_needed(texts))
        texts = tf.strings.regex_replace(tf_text.normalize_utf8(texts, "NFD"), _MARKS, "")
    else:
        texts = normalize_queries(texts)
    return tf.strings.regex_replace(texts, _SPACES, " ")


def split_words(texts: tf.Tensor, strip_accents: bool = True) -> tf.RaggedTensor:
    """Split texts into the words that a WordPiece tokeniser matches pieces in.

    Args:
        texts: string [B], raw or normalised.
        strip_accents: see `bert_normalize`.

    Returns:
        ragged string [B, (words)].
    """
    normalized = bert_normalize(texts, strip_accents)
    _, starts, ends = _splitter().tokenize_with_offsets(normalized)
    whole = tf.gather(normalized, starts.value_rowids())
    words = tf.strings.substr(whole, starts.flat_values, ends.flat_values - starts.flat_values)
    return starts.with_values(words)


@functools.cache
def _splitter() -> tf_text.FastWordpieceTokenizer:
    """A tokeniser that knows no word: each is one unknown piece, from its start to its end."""
    with tf.init_scope():
        return tf_text.FastWordpieceTokenizer(
            [_UNKNOWN, _NO_CHARACTER], token_out_type=tf.int32, unknown_token=_UNKNOWN
        )
