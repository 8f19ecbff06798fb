"""Query normalisation: one implementation for Beam, training and the served signature."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf
import tensorflow_text as tf_text

# RE2's \s is ASCII only. \p{Z} holds the Unicode separators that NFKC leaves alone
# (line and paragraph separator, Ogham space); \x85 is NEL and \x0b the vertical tab.
_WHITESPACE = r"[\s\p{Z}\x{85}\x0b]+"


def normalize_queries(texts: tf.Tensor) -> tf.Tensor:
    """Normalise queries: Unicode NFKC, lower case, whitespace folded and trimmed.

    The result is a fixed point: normalising it again changes nothing.

    Args:
        texts: string tensor of any shape, valid UTF-8.

    Returns:
        string tensor of the same shape.
    """
    texts = tf_text.normalize_utf8(texts, "NFKC")
    texts = tf.strings.lower(texts, encoding="utf-8")
    # Lower-casing can denormalise (capitals whose lower-case form decomposes).
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
