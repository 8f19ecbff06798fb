"""Query normalisation: one implementation for Beam, training and the served signature."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf
import tensorflow_text as tf_text

from vl_models.text.invisible import drop_needless, drop_out_of_place

# RE2's \s is ASCII only. \p{Z} holds the Unicode separators that NFKC leaves alone
# (line and paragraph separator, Ogham space); \x0b is the vertical tab, \x1c to \x1f are the
# ASCII separators, \x85 is NEL and \x{2800} the blank of Braille.
_WHITESPACE = r"[\s\p{Z}\x0b\x1c-\x1f\x{85}\x{2800}]+"


def normalize_queries(texts: tf.Tensor) -> tf.Tensor:
    """Normalise queries: NFKC, lower case, nothing invisible, whitespace folded and trimmed.

    Invisible characters stay where an emoji or a script needs them, see `drop_out_of_place`. The
    result is a fixed point: normalising it again changes nothing.

    Args:
        texts: string tensor of any shape, valid UTF-8.

    Returns:
        string tensor of the same shape.
    """
    # First of all, because lower-casing ends a text at a NUL.
    texts = tf_text.normalize_utf8(drop_needless(texts), "NFKC")
    texts = tf.strings.lower(texts, encoding="utf-8")
    texts = drop_out_of_place(texts)
    # Lower-casing can denormalise (capitals whose lower-case form decomposes), and so can
    # dropping what stood between a letter and its mark.
    texts = tf_text.normalize_utf8(texts, "NFKC")
    return tf.strings.strip(tf.strings.regex_replace(texts, _WHITESPACE, " "))


def normalize_batch(texts: Sequence[str]) -> list[str]:
    """Normalise a batch of Python strings eagerly, by the same graph function.

    Args:
        texts: strings; they must be encodable as UTF-8 (no lone surrogates).

    Returns:
        Normalised strings, in order.
    """
    if not texts:
        return []
    encoded = tf.constant([text.encode("utf-8") for text in texts])
    return [text.decode("utf-8") for text in normalize_queries(encoded).numpy()]
