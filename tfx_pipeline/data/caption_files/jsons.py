"""JSON of records: a line or a list element each, or an object with image names as keys."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tfx_pipeline.data.caption_files.caption import Caption, Content, Problem
from tfx_pipeline.data.caption_files.records import is_record, read_records
from tfx_pipeline.data.contract import Reason, Rejected
from tfx_pipeline.data.images import SUFFIXES
from tfx_pipeline.data.json_objects import Repeating, parse
from vl_models.errors import UserError

_LISTS = ("annotations", "data", "images", "captions", "examples", "rows")
_LOOKED_AT = 20  # lines: some of them may be broken


def are_json_lines(content: Content) -> bool:
    """Whether the file has a JSON object in each line."""
    if isinstance(content.json, dict):
        return is_record(content.json)
    return isinstance(content.json, json.JSONDecodeError) and any(
        map(_is_object, content.lines[:_LOOKED_AT])
    )


def _is_object(line: str) -> bool:
    try:
        return isinstance(parse(line), dict)
    except json.JSONDecodeError:
        return False


def read_json_lines(content: Content) -> Iterator[Caption | Rejected]:
    """Return the captions of JSON lines."""
    return read_records(content, _line_records(content))


def is_json_list(content: Content) -> bool:
    """Whether the file is a list of records, alone or under a key, or records by image name."""
    return _records(content.json) is not None


def read_json_list(content: Content) -> Iterator[Caption | Rejected]:
    """Return the captions of a JSON list, its elements counted from 1.

    Raises:
        UserError: an object by image names has one twice.
    """
    if isinstance(whole := content.json, Repeating):
        raise UserError(
            f"{content.file}: the key {whole.repeated[0]!r} is there more than once. Join its "
            "captions under one."
        )
    return read_records(content, enumerate(_records(content.json) or [], 1))


def _line_records(content: Content) -> Iterator[tuple[int, Any] | Rejected]:
    for row, line in content.filled_lines():
        try:
            yield row, parse(line)
        except json.JSONDecodeError as error:
            yield content.reject(row, Problem(Reason.MALFORMED_ROW, f"no JSON: {error}"), line)


def _records(whole: Any) -> list[Any] | None:
    if isinstance(whole, list):
        return whole
    if not isinstance(whole, dict):
        return None
    for key in _LISTS:
        if isinstance(items := whole.get(key), list) and _are_records(items):
            return items
    if whole and all(key.lower().endswith(SUFFIXES) for key in whole):
        return [
            {"image": image, **(value if isinstance(value, dict) else {"captions": value})}
            for image, value in whole.items()
        ]
    return None


def _are_records(items: list[Any]) -> bool:
    return any(isinstance(item, dict) and is_record(item) for item in items[:_LOOKED_AT])
