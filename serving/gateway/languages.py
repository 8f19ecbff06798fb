"""The page's words, in English and Chinese."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).parent / "static" / "words"
_LANGUAGES = ("en", "zh")


def language_of(accepted: str) -> str:
    """Return the page's language that a browser likes best.

    Args:
        accepted: an `Accept-Language` header.
    """
    weighed = []
    for place, entry in enumerate(accepted[:1000].split(",")):
        name, _, parameter = entry.strip().partition(";")
        try:
            weight = float(parameter.strip().removeprefix("q=") or 1)
        except ValueError:
            weight = 0.0
        weighed.append((-weight, place, name.lower().partition("-")[0]))
    known = [name for weight, _, name in sorted(weighed) if name in _LANGUAGES and weight < 0]
    return known[0] if known else _LANGUAGES[0]


@cache
def texts_of(language: str) -> dict[str, Any]:
    """Return the words of a language by their keys."""
    return json.loads((_FOLDER / f"{language}.json").read_text(encoding="utf-8"))
