"""What readers of caption files take and give."""

from __future__ import annotations

import dataclasses
import functools
import json
import unicodedata
from collections.abc import Iterator
from typing import Any

from tfx_pipeline.data import contract
from tfx_pipeline.data.contract import Reason, Rejected
from tfx_pipeline.data.json_objects import Repeating, parse

SPLITS = {
    "train": "train",
    "restval": "train",  # Karpathy: the rest of COCO's validation images, used for training
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
}
_UNASSIGNED = (None, "", "unassigned")
_BLANK = ("Cc", "Cf", "Zl", "Zp", "Zs")  # categories of characters that show nothing


@dataclasses.dataclass(frozen=True)
class Caption:
    """One caption: its image's file name, text and language, its split if known, and its row."""

    image: str
    text: str
    language: str
    split: str | None
    row: int


@dataclasses.dataclass(frozen=True)
class Problem(Exception):
    """Why a caption, or what should be one, cannot be used."""

    reason: Reason
    message: str


@dataclasses.dataclass
class Content:
    """A caption file's content.

    Attributes:
        file: its name, for messages.
        text: all of it.
        ignored: keys that hold texts but are not known, with the first row that has each.
    """

    file: str
    text: str
    ignored: dict[str, int] = dataclasses.field(default_factory=dict)

    @functools.cached_property
    def lines(self) -> list[str]:
        """The lines without their ends; a line separator of Unicode ends none."""
        text = self.text if "\n" in self.text else self.text.replace("\r", "\n")
        return [line.removesuffix("\r") for line in text.split("\n")]

    @functools.cached_property
    def json(self) -> Any:
        """The whole file as JSON; a `JSONDecodeError` if it is none."""
        try:
            return parse(self.text)
        except json.JSONDecodeError as error:
            return error

    def filled_lines(self) -> Iterator[tuple[int, str]]:
        """Return the lines that are not blank, with their numbers."""
        return ((row, line) for row, line in enumerate(self.lines, 1) if line.strip())

    def reject(self, row: int, problem: Problem, content: Any, rows: int = 1) -> Rejected:
        """Return the rejection of what was found in a row."""
        shown = content if isinstance(content, dict) else {"found": str(content)[:1000]}
        return Rejected(
            self.file,
            row,
            problem.reason,
            contract.printable(problem.message),
            rows,
            contract.content_json(shown),
        )


def check_text(value: Any, where: str) -> str:
    """Return a caption, unchanged.

    Raises:
        Problem: it is none; names where it was.
    """
    if value is None:
        raise Problem(Reason.MISSING_QUERY, f"{where} is null, where a caption belongs")
    if not isinstance(value, str):
        raise Problem(Reason.MALFORMED_ROW, f"{where} must hold text. Received: {str(value)[:80]}")
    if all(unicodedata.category(char) in _BLANK for char in value):
        raise Problem(Reason.MISSING_QUERY, f"{where} is empty, where a caption belongs")
    if "\0" in value:
        raise Problem(Reason.BAD_TEXT, f"{where} holds a NUL character")
    return check_unicode(value, where)


def check_keys(record: dict[str, Any]) -> None:
    """Check that an object has no key twice.

    Raises:
        Problem: names the keys; which of their values is meant nobody can tell.
    """
    if isinstance(record, Repeating):
        names = ", ".join(map(repr, record.repeated))
        raise Problem(Reason.MALFORMED_ROW, f"key {names} is there more than once")


def check_unicode(value: str, where: str) -> str:
    """Return a text, unchanged.

    Raises:
        Problem: it holds bytes that are not UTF-8, or half a character.
    """
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        code = ord(value[error.start])
        half = not 0xDC80 <= code <= 0xDCFF  # else a byte that decoding has put there
        what = f"half a surrogate pair, {code:#x}" if half else f"byte {code - 0xDC00:#x}"
        message = f"{where} is not valid Unicode ({what})"
        raise Problem(Reason.INVALID_UTF8, message) from None
    return value


def check_image(value: Any, where: str) -> str:
    """Return the name of an image's file, without blanks around it.

    Raises:
        Problem: it is none; names where it was.
    """
    if value is None or (isinstance(value, str) and not value.strip()):
        raise Problem(Reason.MISSING_IMAGE_ID, f"{where} is missing or empty")
    if not isinstance(value, str):
        message = f"{where} must hold the name of an image's file. Received: {str(value)[:80]}"
        raise Problem(Reason.MISSING_IMAGE_ID, message)
    return check_unicode(value.strip(), where)


def check_split(value: Any, where: str) -> str | None:
    """Return the split that a name stands for; None where it assigns none.

    Raises:
        Problem: the name is unknown.
    """
    if value in _UNASSIGNED:
        return None
    if not isinstance(value, str) or value.strip() not in SPLITS:
        known = ", ".join(SPLITS)
        message = f"{where}: unknown split {str(value)[:80]!r}. Known: {known}."
        raise Problem(Reason.BAD_SPLIT, message)
    return SPLITS[value.strip()]
