"""Reader of logs in JSON lines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tfx_pipeline.data import contract
from tfx_pipeline.data.contract import Rejected
from tfx_pipeline.data.json_objects import Repeating, parse
from tfx_pipeline.data.readers.base import (
    RawBatch,
    in_batches,
    malformed,
    record_batch,
)
from tfx_pipeline.data.text_files import open_text


def read_jsonl(path: str) -> Iterator[RawBatch]:
    """Read one object per line; empty lines are no rows."""
    with open_text(path) as stream:
        numbered = ((row, line) for row, line in enumerate(stream, 1) if line.strip())
        for lines in in_batches((item, len(item[1])) for item in numbered):
            yield _batch(path, lines)


def _batch(path: str, lines: list[tuple[int, str]]) -> RawBatch:
    records: list[dict[str, Any]] = []
    rows: list[int] = []
    rejected: list[Rejected] = []
    for row, line in lines:
        try:
            records.append(_record(line))
            rows.append(row)
        except ValueError as error:
            content = contract.content_json({"line": line[:1000]})
            rejected.append(malformed(path, row, str(error), content))
    return record_batch(path, records, rows, rejected, len(lines))


_NESTED = {list, dict, Repeating}


def _record(line: str) -> dict[str, Any]:
    """Parse a line; raises ValueError with what is wrong."""
    try:
        record = parse(line)
    except ValueError as error:
        raise ValueError(f"no JSON: {error}") from error
    if not isinstance(record, dict):
        raise ValueError("no JSON: the line is not a JSON object")
    repeated = record.repeated if isinstance(record, Repeating) else ()
    if twice := [name for name in repeated if name in contract.COLUMNS]:
        raise ValueError(f"the key {', '.join(twice)} is there more than once")
    if not _NESTED.isdisjoint(map(type, record.values())):
        _refuse_nested(record)
    return record


def _refuse_nested(record: dict[str, Any]) -> None:
    for name, value in record.items():
        if type(value) in _NESTED and name in contract.COLUMNS:
            kind = "a list" if isinstance(value, list) else "an object"
            raise ValueError(f"{name} is {kind}; the log needs one value per row. Unnest it.")
