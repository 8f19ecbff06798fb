"""Flickr's token files: `photo.jpg#0<TAB>caption`, and `photo.jpg#zhc#0 caption` in Chinese."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tfx_pipeline.data.caption_files.caption import (
    Caption,
    Content,
    Problem,
    check_image,
    check_text,
)
from tfx_pipeline.data.caption_files.names import is_language
from tfx_pipeline.data.contract import Reason, Rejected
from tfx_pipeline.data.language import detect_language

# Flickr8k-CN's tags are a language and a letter for how the caption was made: zhc, zhb, zhm.
_NUMBER = r"#(?:(?P<tag>[A-Za-z]+)#)?\d+"
# A name may hold blanks and hash signs, so a blank ends the number only where no tab does.
_TOKENS = [
    re.compile(rf"(?P<image>[^\t]+?){_NUMBER}\t(?P<text>.*)"),
    re.compile(rf"(?P<image>[^\t]+?){_NUMBER}[ ]+(?P<text>.*)"),
]


def are_tokens(content: Content) -> bool:
    """Whether the first line that is not blank is one of a token file."""
    first = next((line for _, line in content.filled_lines()), "")
    return not first.lstrip().startswith(("{", "[")) and _match(first) is not None


def read_tokens(content: Content) -> Iterator[Caption | Rejected]:
    """Return the captions of a token file."""
    for row, line in content.filled_lines():
        try:
            yield _caption(row, line)
        except Problem as problem:
            yield content.reject(row, problem, line)


def _match(line: str) -> re.Match[str] | None:
    return next(filter(None, (token.fullmatch(line) for token in _TOKENS)), None)


def _caption(row: int, line: str) -> Caption:
    found = _match(line)
    if not found:
        message = f"expected `image#number<TAB>caption`. Received: {line[:80]!r}"
        raise Problem(Reason.MALFORMED_ROW, message)
    image = check_image(found["image"], "the image's name")
    text = check_text(found["text"], "the caption")
    tag = (found["tag"] or "")[:2].lower()
    return Caption(image, text, tag if is_language(tag) else detect_language(text), None, row)
