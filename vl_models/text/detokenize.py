"""Words as people write them: where there is a space between two of them, and where not."""

from __future__ import annotations

import tensorflow as tf

# Characters of scripts without spaces, and their punctuation and full-width forms.
_CJK = r"\p{Han}\p{Hiragana}\p{Katakana}\x{3000}-\x{303F}\x{FF00}-\x{FFEF}"
_RULES = (
    (r" +", " "),
    # Twice: a match takes both characters, so that every second space is left.
    (rf"([{_CJK}]) ([{_CJK}])", r"\1\2"),
    (rf"([{_CJK}]) ([{_CJK}])", r"\1\2"),
    (r" ([.,!?;:%)\]}…])", r"\1"),
    (r"([(\[{$#]) ", r"\1"),
    (r"(\w) (['’]) ?(\w)", r"\1\2\3"),
    (r"(\w) ([-/]) (\w)", r"\1\2\3"),
    (r"(\w) ([-/]) (\w)", r"\1\2\3"),
)


def join_words(texts: tf.Tensor) -> tf.Tensor:
    """Take the spaces out that only tokenisers put in.

    Chinese and Japanese are written without spaces; English has none before a full stop, within
    "it's" or "well-known". What was in the text before it was tokenised is not known: "3 - 2" comes
    out as "3-2".

    Args:
        texts: string [B], words and punctuation marks with spaces between them.

    Returns:
        string [B].
    """
    for pattern, replacement in _RULES:
        texts = tf.strings.regex_replace(texts, pattern, replacement)
    return tf.strings.strip(texts)
