"""A guess at a query's language where the log does not say."""

from __future__ import annotations

import re

# Han without kana or hangul is read as Chinese; a mixed query counts as Chinese, because
# Latin brand names are common in Chinese queries.
_HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f]")
_KANA_OR_HANGUL = re.compile(r"[\u3040-\u30ff\uac00-\ud7af]")
_LETTER = re.compile(r"[^\W\d_]")


def detect_language(text: str) -> str:
    """`zh` if the text holds Han characters, `en` if its letters are ASCII, else `und`.

    Texts with kana or hangul are `und` even where they hold Han characters.
    """
    if _KANA_OR_HANGUL.search(text):
        return "und"
    if _HAN.search(text):
        return "zh"
    letters = _LETTER.findall(text)
    return "en" if letters and all(letter.isascii() for letter in letters) else "und"
