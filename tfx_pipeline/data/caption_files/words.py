"""Captions that come as lists of words, as in Conceptual Captions."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import Any

# Words that are nobody's whole caption.
_FUNCTION_WORDS = "a an and at for from in is of on the to with 的 了 在 一 一个 和 是 上 着 有 与"


def tokenised_keys(lists: Iterable[tuple[str, list[Any]]], singular: Iterable[str]) -> set[str]:
    """Return the keys whose lists hold the words of one caption, rather than captions.

    A single list may be both, so all lists of a key are looked at. Blanks inside an element are
    those of captions; punctuation and words such as `the` stand alone only in lists of words.

    Args:
        lists: keys and what they hold.
        singular: keys that name one caption, so that any list of Latin words is one.
    """
    votes: dict[str, int] = {}
    for key, values in lists:
        if len(values) > 1 and all(isinstance(value, str) for value in values):
            votes[key] = votes.get(key, 0) + _vote(values, key in singular)
    return {key for key, vote in votes.items() if vote > 0}


def is_word(value: Any) -> bool:
    """Whether a value is a text without blanks inside."""
    return isinstance(value, str) and len(value.split()) <= 1


def join_words(words: Iterable[str]) -> str:
    """Return the words as a text: blanks between them, none between Chinese or Japanese ones."""
    text = ""
    for word in filter(None, (word.strip() for word in words)):
        joined = not text or (_needs_no_blank(text[-1]) and _needs_no_blank(word[0]))
        text += word if joined else f" {word}"
    return text


def _vote(values: list[str], singular: bool) -> int:
    """Return 1 for a list of words, -1 for one of captions, 0 where it may be either."""
    if not all(map(is_word, values)):
        return -1
    if any(_is_punctuation(value) or value.lower() in _FUNCTION_WORDS.split() for value in values):
        return 1
    return int(singular and not any(map(_needs_no_blank, "".join(values))))


def _is_punctuation(value: str) -> bool:
    return bool(value) and all(unicodedata.category(char).startswith("P") for char in value)


def _needs_no_blank(char: str) -> bool:
    """Whether a character is of a script that is written without blanks, or its punctuation."""
    code = ord(char)
    return (
        0x2E80 <= code <= 0x30FF
        or 0x3400 <= code <= 0x9FFF
        or 0xF900 <= code <= 0xFAFF
        or 0xFF00 <= code <= 0xFFEF
        or code >= 0x20000
    )
