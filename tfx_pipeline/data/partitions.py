"""Folders called key=value above a log file: columns and dates, as Hive and Spark write them."""

from __future__ import annotations

import datetime
import re
from urllib.parse import unquote

_DATE_KEYS = ("date", "dt", "ds", "day")
_DATE_PARTS = ("year", "month", "day")
_NULL = "__HIVE_DEFAULT_PARTITION__"
_DATE = re.compile(r"(\d{4})-?(\d{2})-?(\d{2})")


def read_partitions(path: str) -> dict[str, str | None]:
    """Return the keys and values of the folders that a file lies in, the outermost first.

    Only an unbroken row of such folders right above the file counts: what is further up is where
    somebody keeps the log, and says nothing about it.
    """
    found: list[tuple[str, str | None]] = []
    for folder in reversed(path.split("/")[:-1]):
        key, equals, value = folder.partition("=")
        if not (key and equals):
            break
        found.append((unquote(key), None if value == _NULL else unquote(value)))
    return dict(reversed(found))


def span_of(path: str) -> int | None:
    """Return the date of a file's folders as a number, such as 20240131; None without one.

    A date is in one folder (`date`, `dt`, `ds` or `day`) or in three (`year`, `month`, `day`).
    """
    values = read_partitions(path)
    for key in _DATE_KEYS:
        if (span := date_number(values.get(key) or "")) is not None:
            return span
    parts = [values.get(key) or "" for key in _DATE_PARTS]
    return date_number("{:0>4}-{:0>2}-{:0>2}".format(*parts)) if all(parts) else None


def date_number(text: str) -> int | None:
    """Return 20240131 for 2024-01-31 or 20240131; None for what is no date."""
    found = _DATE.fullmatch(text)
    if not found:
        return None
    try:
        datetime.date(*map(int, found.groups()))
    except ValueError:
        return None
    return int("".join(found.groups()))


def column_values(path: str) -> dict[str, str | None]:
    """Return what a file's folders say of all of its rows, without dates, which are spans."""
    values = read_partitions(path)
    dates = {*_DATE_KEYS, *_DATE_PARTS} if span_of(path) is not None else set()
    return {key: value for key, value in values.items() if key not in dates}
