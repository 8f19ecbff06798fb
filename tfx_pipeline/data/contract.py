"""The row contract: columns of a click log, reasons for rejection, the clean table."""

from __future__ import annotations

import dataclasses
import enum
import json
import math
from typing import Any, NamedTuple

import pyarrow as pa

REQUIRED_COLUMNS = ("query", "image_id")
CLICK_COLUMNS = ("clicked", "clicks")  # one of them is required
OPTIONAL_COLUMNS = (
    "impressions",
    "image_uri",
    "image_bytes",
    "position",
    "session_id",
    "timestamp",
    "language",
    "label",
    "label_text",
    "split",
    "release",  # these two are written by the search service, for evaluations by hand
    "ranking",
)
COLUMNS = REQUIRED_COLUMNS + CLICK_COLUMNS + OPTIONAL_COLUMNS
MAX_COUNT = 2**31 - 1  # of one row: sums over a log stay exact

CLEAN_SCHEMA = pa.schema(
    [
        ("query", pa.string()),  # as logged
        ("image_id", pa.string()),
        ("clicks", pa.int64()),
        ("position", pa.int32()),  # 1 = top of the page, 0 = unknown
        ("impressions", pa.int64()),
        ("split", pa.string()),  # null unless the split policy is `given`
        ("time", pa.timestamp("us", tz="UTC")),  # null unless the split policy is `by_time`
        ("language", pa.string()),
        ("label", pa.int64()),
        ("label_text", pa.string()),
        ("image_uri", pa.string()),
        ("row", pa.int64()),  # 1-based within its file
    ]
)


class Reason(enum.StrEnum):
    """Why a row, or all rows of an image, are rejected."""

    MISSING_QUERY = "missing_query"
    MISSING_IMAGE_ID = "missing_image_id"
    MISSING_ANSWER = "missing_answer"
    NO_AGREEMENT = "no_agreement"
    INVALID_UTF8 = "invalid_utf8"
    BAD_TEXT = "bad_text"
    BAD_BASE64 = "bad_base64"
    MALFORMED_ROW = "malformed_row"
    NEGATIVE_COUNT = "negative_count"
    BAD_NUMBER = "bad_number"
    BAD_POSITION = "bad_position"
    BAD_TIMESTAMP = "bad_timestamp"
    BAD_SPLIT = "bad_split"
    IMAGE_MISSING = "image_missing"
    IMAGE_EMPTY = "image_empty"
    IMAGE_UNDECODABLE = "image_undecodable"
    IMAGE_TRUNCATED = "image_truncated"
    IMAGE_TOO_LARGE = "image_too_large"


class ColumnType(NamedTuple):
    """What a column holds in every format, and the reason of a row where it does not.

    Attributes:
        name: `text`, `integer`, `flag` (0 or 1), `time` or `bytes`; see values.py.
        reason: for faults that have no reason of their own.
    """

    name: str
    reason: Reason


COLUMN_TYPES = {
    "query": ColumnType("text", Reason.BAD_TEXT),
    "image_id": ColumnType("text", Reason.BAD_TEXT),
    "clicked": ColumnType("flag", Reason.BAD_NUMBER),
    "clicks": ColumnType("integer", Reason.BAD_NUMBER),
    "impressions": ColumnType("integer", Reason.BAD_NUMBER),
    "image_uri": ColumnType("text", Reason.BAD_TEXT),
    "image_bytes": ColumnType("bytes", Reason.BAD_BASE64),
    "position": ColumnType("integer", Reason.BAD_POSITION),
    "session_id": ColumnType("text", Reason.BAD_TEXT),
    "timestamp": ColumnType("time", Reason.BAD_TIMESTAMP),
    "language": ColumnType("text", Reason.BAD_TEXT),
    "label": ColumnType("integer", Reason.BAD_NUMBER),
    "label_text": ColumnType("text", Reason.BAD_TEXT),
    "split": ColumnType("text", Reason.BAD_SPLIT),
    "release": ColumnType("integer", Reason.BAD_NUMBER),
    "ranking": ColumnType("text", Reason.BAD_TEXT),
}


@dataclasses.dataclass(frozen=True, order=True)
class Rejected:
    """One rejected row, or one rejected image with the count of rows behind it.

    Attributes:
        source: log file (rows) or image URI (images).
        row: 1-based number in the log file; for an image, of its first row (0 if it has none).
        reason: why.
        message: why, for a person.
        rows: how many rows of the log are lost by it.
        content: the row as JSON text, without image bytes.
    """

    source: str
    row: int
    reason: str
    message: str
    rows: int = 1
    content: str = "{}"

    def to_json(self) -> str:
        """One line of `rejected-*.jsonl`."""
        record: dict[str, Any] = dataclasses.asdict(self)
        record["content"] = json.loads(self.content)
        return json.dumps(record, ensure_ascii=False, sort_keys=True)


def to_bytes(text: str) -> bytes:
    """Text as bytes; not valid UTF-8 if the text holds escaped bytes or lone surrogates."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def printable(text: str) -> str:
    """Text that any stream can write: what is not Unicode is shown with escapes."""
    return to_bytes(text).decode("utf-8", "backslashreplace")


def content_json(row: dict[str, Any]) -> str:
    """Return a row as JSON text: image bytes left out, undecodable bytes shown with escapes."""

    def plain(value: Any) -> Any:
        if isinstance(value, bytes):
            return value.decode("utf-8", "backslashreplace")
        if isinstance(value, str):
            return printable(value)
        if isinstance(value, float) and not math.isfinite(value):
            return str(value)  # JSON has no such numbers
        return value if isinstance(value, bool | int | float | None) else str(value)

    kept = {printable(k): plain(v) for k, v in row.items() if k != "image_bytes" and v is not None}
    return json.dumps(kept, ensure_ascii=False, sort_keys=True)
