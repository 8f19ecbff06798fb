"""One conversion per type of column (`contract.COLUMN_TYPES`), for values of any log format.

A value that is absent is None, as are NaN and empty text. What cannot be converted without loss
is a ValueFault: nothing is rounded, cut off or guessed.
"""

from __future__ import annotations

import base64
import datetime
import math
import re
import urllib.parse
import uuid
from decimal import Decimal
from typing import Any

import numpy as np

from tfx_pipeline.data import contract
from tfx_pipeline.data.contract import Reason
from tfx_pipeline.data.text_files import suggest_encoding

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
_DIGITS = re.compile(r"\d+(\.\d*)?", re.ASCII)
_BASE64 = re.compile(r"[A-Za-z0-9+/]*", re.ASCII)
_BASE64_START = re.compile(rb"data:|[A-Za-z0-9+/_\-=\s]*\Z")
_DATA_URI = re.compile(r"data:[^,]*;base64,", re.IGNORECASE)
# Epoch times are told apart by magnitude: the ranges of the units do not touch.
EARLIEST, LATEST = 631_152_000, 4_102_444_800  # 1990 and 2100 in seconds since 1970
EPOCH_UNITS = {1: "s", 10**3: "ms", 10**6: "us", 10**9: "ns"}
_COMPACT_FORMS = {8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}


class ValueFault(Exception):
    """A value that its column's type does not allow.

    Attributes:
        message: what is wrong with it, as it continues the column's name.
        reason: None if the column's own reason applies.
    """

    def __init__(self, message: str, reason: Reason | None = None):
        super().__init__(message)
        self.message = message
        self.reason = reason


def as_text(value: Any) -> str | None:
    """Text as it is; numbers as written in full, without the ``.0`` of a whole one.

    Raises:
        ValueFault: not valid UTF-8, a NUL character, a number that its type has rounded, or no
            single value.
    """
    if isinstance(value, bytes):
        return _without_nul(_decoded(value))
    if isinstance(value, str):
        return _without_nul(_decoded(contract.to_bytes(value)))
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None or _is_nan(value):
        return None
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float | np.floating | Decimal):
        return _number_text(value)
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, datetime.date):
        return value.isoformat()
    raise ValueFault(f"is no text, but {_kind(value)}", Reason.MALFORMED_ROW)


def as_integer(value: Any) -> int | None:
    """Whole numbers of 64 bits, also written as 3.0 or as text; true is 1 and false is 0.

    Raises:
        ValueFault: a fraction, infinite, too large or no number.
    """
    given = value
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, str):
        value = value.strip()
        lower = value.lower()
        if lower in ("", "nan"):
            return None
        if lower in ("true", "false"):
            return int(lower == "true")
        if not _NUMBER.fullmatch(value):
            raise ValueFault(f"is not a whole number: {_shown(given)}")
        value = Decimal(value)
    if value is None or _is_nan(value):
        return None
    if isinstance(value, float | np.floating | Decimal):
        value = _whole(value)
    if not isinstance(value, int):
        raise ValueFault(f"is not a whole number: {_shown(given)}")
    if not -(2**63) <= value < 2**63:
        raise ValueFault(f"does not fit into 64 bits: {_shown(given)}")
    return int(value)


def as_time(value: Any) -> datetime.datetime | None:
    """A moment in UTC: times (without zone: UTC), ISO 8601, compact or epoch.

    Numbers, and text of digits, are YYYYMMDD, YYYYMMDDhhmm, YYYYMMDDhhmmss, or the time since
    1970 in seconds, milli-, micro- or nanoseconds, from 1990 to 2100.

    Raises:
        ValueFault: none of these, or more than one.
    """
    given = value
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, str):
        value = value.strip()
    if value is None or value == "" or _is_nan(value):
        return None
    try:
        if isinstance(value, str) and not _DIGITS.fullmatch(value):
            # BigQuery writes the zone's name.
            value = datetime.datetime.fromisoformat(re.sub(r" ?UTC$", "+00:00", value))
        elif isinstance(value, datetime.date) and not isinstance(value, datetime.datetime):
            value = datetime.datetime(value.year, value.month, value.day)
        elif not isinstance(value, datetime.datetime | bool):
            value = _from_digits(value)
        if value.tzinfo is None:
            return value.replace(tzinfo=datetime.UTC)
        return value.astimezone(datetime.UTC)
    except (ValueError, OverflowError, ArithmeticError, TypeError, AttributeError):
        raise ValueFault(
            "is neither ISO 8601, nor YYYYMMDD, nor the time since 1970 in seconds, milli-, "
            f"micro- or nanoseconds: {_shown(given)}"
        ) from None


def as_bytes(value: Any) -> bytes | None:
    """Bytes as they are; text is base64: standard or URL-safe, padded or not, or a data URI.

    Bytes that are nothing but base64 are decoded, too: no image file looks like that.

    Raises:
        ValueFault: text that is not base64, or neither bytes nor text.
    """
    if isinstance(value, bytes):
        if not value or not _BASE64_START.match(value[:16]):
            return value
        try:
            return _from_base64(value.decode("ascii"))
        except ValueError:
            return value
    if value is None or _is_nan(value) or value == "":
        return None
    if not isinstance(value, str):
        raise ValueFault(f"is neither bytes nor base64, but {_kind(value)}", Reason.BAD_BASE64)
    try:
        return _from_base64(value)
    except ValueError:
        raise ValueFault(f"is not base64: {_shown(value, 40)}", Reason.BAD_BASE64) from None


def _decoded(value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError as error:
        message = f"is not valid UTF-8 (byte {error.start})"
    if encoding := suggest_encoding(value):
        message += (
            f"; as {encoding} it reads {_shown(value.decode(encoding))}: write the log in UTF-8, "
            f"or set `csv.encoding: {encoding}` if it is CSV"
        )
    raise ValueFault(message, Reason.INVALID_UTF8)


def _without_nul(text: str) -> str:
    if "\0" in text:
        raise ValueFault(f"holds a NUL character: {_shown(text)}", Reason.BAD_TEXT)
    return text


def _number_text(value: Any) -> str:
    whole = _whole(value)
    if whole is not None:
        return str(whole)
    if not math.isfinite(value) or value == int(value):
        raise ValueFault(
            f"is the number {value}, which its type does not hold exactly: write it as text",
            Reason.BAD_TEXT,
        )
    return str(value)


def _whole(value: Any) -> int | None:
    """A number as an integer; None if it has a fraction or may have lost digits."""
    if not math.isfinite(value) or value != int(value):
        return None
    if isinstance(value, Decimal):
        return int(value)
    bits = np.finfo(type(value)).nmant + 1
    return int(value) if abs(int(value)) < 2**bits else None


def _is_nan(value: Any) -> bool:
    return isinstance(value, float | np.floating | Decimal) and math.isnan(value)


def _from_digits(value: Any) -> datetime.datetime:
    number = Decimal(str(value))
    if isinstance(value, np.floating) and _whole(value) is None:
        raise ValueError("rounded by its type")
    digits = str(int(number)) if number == int(number) else ""
    if len(digits) in _COMPACT_FORMS and "1900" <= digits[:4] <= "2100":
        return datetime.datetime.strptime(digits, _COMPACT_FORMS[len(digits)])
    if len(digits) == 10 and _is_hour(digits):
        raise ValueError("an hour as YYYYMMDDhh, or seconds")
    for factor in EPOCH_UNITS:
        if EARLIEST * factor <= number < LATEST * factor:
            microseconds = int(number * 10**6 / factor)
            epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
            return epoch + datetime.timedelta(microseconds=microseconds)
    raise ValueError("no known unit")


def _is_hour(digits: str) -> bool:
    try:
        datetime.datetime.strptime(digits, "%Y%m%d%H")
    except ValueError:
        return False
    return True


def _from_base64(text: str) -> bytes:
    """Decode; raises ValueError."""
    if text[:5].lower() == "data:":
        prefix = _DATA_URI.match(text[:200])
        if prefix is None:
            raise ValueError("a data URI without base64")
        text = urllib.parse.unquote(text[prefix.end() :])
    # A blank within a line is a plus sign that something took for one of a URL.
    text = (
        "".join(line.strip() for line in text.splitlines())
        .translate(str.maketrans("-_", "+/"))
        .rstrip("=")
    )
    if not _BASE64.fullmatch(text):
        raise ValueError("characters outside of the alphabet")
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", bool: "a truth value"}
    return names.get(type(value), f"of type {type(value).__name__}")


def _shown(value: Any, length: int = 100) -> str:
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    return repr(text[:length])
