"""The form in which VQA answers are compared."""

from __future__ import annotations

import re

_NUMBERS = {
    name: str(value)
    for value, name in enumerate(
        ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    )
} | {"none": "0"}
_ARTICLES = ("a", "an", "the")
_PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
_COMMA_IN_NUMBER = re.compile(r"\d,\d")
_FULL_STOP = re.compile(r"\.(?!\d)")


def normalize_answer(text: str) -> str:
    r"""Return an answer as the evaluation of VQA compares it.

    Lower case, punctuation dropped or made a space, number words as digits, articles dropped.
    The published program also restores apostrophes that annotators left out (dont → don't); as
    that touches questions' answers alike, it is left out here.
    Source: Antol et al., "VQA: Visual Question Answering" (2015), `vqaEval.py` of its API.

    >>> normalize_answer("The Two dogs.")
    '2 dogs'
    """
    text = " ".join(text.split())
    result = text
    for mark in _PUNCTUATION:
        at_edge = f"{mark} " in text or f" {mark}" in text or _COMMA_IN_NUMBER.search(text)
        result = result.replace(mark, "" if at_edge else " ")
    result = _FULL_STOP.sub("", result)
    words = (_NUMBERS.get(word, word) for word in result.lower().split())
    return " ".join(word for word in words if word not in _ARTICLES)
