"""Checks of what people pass as arguments: lists of texts, whole numbers, queries."""

from __future__ import annotations

import operator
import re
from collections.abc import Mapping
from typing import Any

from serving.errors import ServingError

# What the text tower's normalisation leaves nothing of: controls, white space, format characters,
# fillers, selectors, tags (Unicode's Default_Ignorable_Code_Point, and Braille's blank).
_NOTHING = re.compile(
    "[\x00-\x20\x7f-\xa0\xad\u034f\u061c\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f\u2000-\u200f"
    "\u2028-\u202f\u205f-\u206f\u2800\u3000\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]*"
)


def texts(name: str, values: Any) -> list[str]:
    """Return a sequence of str as a list.

    Args:
        name: of the argument.
        values: a list, a tuple, an array of one dimension, or the like.

    Raises:
        ServingError: one str, which is a sequence of letters; a thing without order; a member that
            is no str.
    """
    if isinstance(values, str | bytes | bytearray):
        raise ServingError(
            f"{name} is a list of texts; one text is a list of one: [{_short(values)}]. "
            f"Received: {type(values).__name__}."
        )
    has_order = hasattr(values, "__getitem__") and not isinstance(values, Mapping)
    try:
        listed = list(values) if has_order else None
    except TypeError:  # an array without dimensions
        listed = None
    if listed is None:
        raise ServingError(f"{name} is a list of texts. Received: {type(values).__name__}.")
    for number, value in enumerate(listed):
        if not isinstance(value, str):
            raise ServingError(
                f"{name} is a list of texts (str). Received: {name}[{number}] is "
                f"{type(value).__name__}."
            )
    return listed


def queries(values: Any) -> list[str]:
    """Return queries as a list.

    Raises:
        ServingError: what `texts` refuses, or a query that `check_query` does.
    """
    listed = texts("queries", values)
    for number, query in enumerate(listed):
        check_query(query, "The query" if len(listed) == 1 else f"queries[{number}]")
    return listed


def check_query(query: str, name: str = "The query") -> None:
    """Refuse a query of which the text tower sees nothing.

    Raises:
        ServingError: white space and invisible characters only, or no valid Unicode.
    """
    if _NOTHING.fullmatch(query):
        hidden = sorted({f"U+{ord(c):04X}" for c in query if not c.isspace()})
        only = f" It has invisible characters only: {', '.join(hidden[:5])}." if hidden else ""
        raise ServingError(f"{name} is empty; say what to look for.{only}")
    try:
        query.encode("utf-8")
    except UnicodeEncodeError:
        raise ServingError(f"{name} is not valid UTF-8.") from None


def whole_number(name: str, value: Any, least: int = 1, most: int | None = None) -> int:
    """Return an int, or NumPy's, as int.

    Raises:
        ServingError: another type (a bool, too, and 2.0), or a number out of range.
    """
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = None
    if number is None or number < least or (most is not None and number > most):
        above = "" if most is None else f" and at most {most}"
        raise ServingError(
            f"{name} is a whole number, at least {least}{above}. Received: {name}={_short(value)}."
        )
    return number


def name_of(what: str, value: Any) -> str:
    """Return a name as it is.

    Raises:
        ServingError: no str, an empty one, or one that is not valid Unicode.
    """
    try:
        usable = isinstance(value, str) and value.encode("utf-8") != b""
    except UnicodeEncodeError:
        usable = False
    if not usable:
        raise ServingError(f"{what} is a str that is not empty. Received: {_short(value)}.")
    return value


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:79]}…"
