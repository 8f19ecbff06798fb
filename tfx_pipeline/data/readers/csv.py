"""Reader of CSV logs."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

import numpy as np

from tfx_pipeline.data import contract
from tfx_pipeline.data.config import CsvConfig
from tfx_pipeline.data.contract import Rejected
from tfx_pipeline.data.readers.base import (
    Column,
    RawBatch,
    as_column,
    check_columns,
    in_batches,
    malformed,
)
from tfx_pipeline.data.readers.csv_dialect import header, recognise
from tfx_pipeline.data.readers.csv_lines import CsvFault, Record, records
from tfx_pipeline.data.text_files import open_text
from vl_models.errors import UserError

_SAMPLE_LINES, _SAMPLE_CHARACTERS = 1_000, 1 << 20
_REMEDY = (
    "Double the quotes inside of a quoted field; if they are escaped otherwise set `csv.escape`, "
    "if quotes are plain text set `csv.quote: none`"
)


def read_csv(path: str, config: CsvConfig) -> Iterator[RawBatch]:
    """Read one record per row; empty lines are no rows, but are counted in the row's number."""
    with open_text(path, config.encoding) as stream:
        sample = _sample(stream)
        try:
            dialect, skipped = recognise(sample, config)
            if skipped == len(sample):
                return  # an empty file holds no rows; a wholly empty log is reported as such
            names = header(sample[skipped], dialect)
        except CsvFault as fault:
            raise UserError(f"{path}: the header cannot be read: {fault}. {_REMEDY}.") from fault
        _check_separated(path, names)
        unknown = check_columns(path, names)
        lines = itertools.chain(sample[skipped + 1 :], stream)
        found = records(lines, dialect, len(names), first_line=skipped + 2)
        numbered = (
            (row, record) for row, record in enumerate(found, 1) if record.fields or record.fault
        )
        for batch in in_batches((item, len(item[1].text)) for item in numbered):
            yield _batch(path, names, batch, unknown)


def _check_separated(path: str, names: list[str]) -> None:
    """Tell a header in another dialect from one with other names."""
    if {*contract.REQUIRED_COLUMNS}.isdisjoint(names) and all(
        any(required in name for name in names) for required in contract.REQUIRED_COLUMNS
    ):
        raise UserError(
            f"{path}: its header has the required columns, but not as fields of their own: "
            f"{', '.join(map(repr, names))}. Set `csv.delimiter` to the character between fields "
            "(comma, tab, semicolon and bar are recognised), or `csv.quote` to the one around them."
        )


def _sample(stream: Iterable[str]) -> list[str]:
    sample: list[str] = []
    length = 0
    for line in itertools.islice(stream, _SAMPLE_LINES):
        sample.append(line)
        length += len(line)
        if length > _SAMPLE_CHARACTERS:
            break
    return sample


def _batch(
    path: str, names: list[str], numbered: list[tuple[int, Record]], unknown: tuple[str, ...]
) -> RawBatch:
    kept: list[list[str | None]] = []
    rows: list[int] = []
    rejected: list[Rejected] = []
    for row, record in numbered:
        if not record.fault:
            kept.append(record.fields)
            rows.append(row)
            continue
        content = contract.content_json({"line": record.text[:1000]})
        message = record.fault
        if not record.fields:
            message = f"line {record.line}: {message}. {_REMEDY}"
        rejected.append(malformed(path, row, message, content))
    columns: dict[str, Column] = {
        name: as_column([value or None for value in values])
        for name, values in zip(names, zip(*kept, strict=True), strict=False)
        if name in contract.COLUMNS
    }
    return RawBatch(
        path, np.array(rows, np.int64), columns, tuple(rejected), unknown, len(numbered)
    )
