"""Readers of the four log formats: streams of raw column batches with their origin.

A reader never holds a whole file, and it judges nothing but the form: a file that cannot be
read to its end is a UserError, a row that cannot be parsed is a rejected row. What the
columns mean is checked in validate.py.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from functools import partial

import pyarrow as pa

from tfx_pipeline.data import contract
from tfx_pipeline.data.config import CsvConfig
from tfx_pipeline.data.partitions import column_values
from tfx_pipeline.data.readers.base import Column, RawBatch
from tfx_pipeline.data.readers.csv import read_csv
from tfx_pipeline.data.readers.jsonl import read_jsonl
from tfx_pipeline.data.readers.parquet import read_parquet
from tfx_pipeline.data.readers.tfrecord import read_tfrecord
from vl_models.errors import UserError

__all__ = ["Column", "RawBatch", "detect_format", "read_batches"]

_SUFFIXES = {
    ".parquet": "parquet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "csv",
    ".tfrecord": "tfrecord",
    ".tfrecords": "tfrecord",
}
_NAMES = {"parquet": "Parquet", "jsonl": "JSON lines", "csv": "CSV", "tfrecord": "TFRecord"}


def detect_format(path: str) -> str:
    """Return the format that a file's name says, looking through a final `.gz`.

    Raises:
        UserError: the suffix is none of the known ones.
    """
    name = path.lower().removesuffix(".gz")
    for suffix, kind in _SUFFIXES.items():
        if name.endswith(suffix):
            return kind
    raise UserError(
        f"{path}: cannot tell the log's format from its name. Name it "
        f"{', '.join(_SUFFIXES)}, or set `format` to parquet, jsonl, csv or tfrecord; or "
        "take it out of the log."
    )


def read_batches(
    path: str, file_format: str = "auto", csv: CsvConfig | None = None
) -> Iterator[RawBatch]:
    """Read a log file as a stream of batches of at most 65,536 rows.

    Args:
        path: local path, or a URI of s3:// or gs://.
        file_format: `parquet`, `jsonl`, `csv`, `tfrecord`, or `auto` (by the name).
        csv: how CSV is written; by default recognised.

    Raises:
        UserError: the file is missing, broken, or has a required column not or twice; names it.
    """
    kind = detect_format(path) if file_format == "auto" else file_format
    readers: dict[str, Callable[[str], Iterator[RawBatch]]] = {
        "parquet": read_parquet,
        "jsonl": read_jsonl,
        "csv": partial(read_csv, config=csv or CsvConfig()),
        "tfrecord": read_tfrecord,
    }
    values = column_values(path)
    try:
        for batch in readers[kind](path):
            yield _with_columns(batch, values) if values else batch
    except (UserError, MemoryError):
        raise
    except Exception as error:
        # Whatever a library raises for a damaged file, the file is named.
        raise UserError(
            f"{contract.printable(path)}: cannot be read to its end as {_NAMES[kind]} "
            f"({_first_line(error)}). The file is incomplete or damaged: write it again, or take "
            "it out of the input."
        ) from error


def _with_columns(batch: RawBatch, values: Mapping[str, str | None]) -> RawBatch:
    """Add what the file's folders say about all of its rows; the file's own columns win."""
    added = {
        name: pa.repeat(pa.scalar(value, pa.string()), len(batch.rows))
        for name, value in values.items()
        if name in contract.COLUMNS and name not in batch.columns
    }
    unknown = tuple(name for name in values if name not in contract.COLUMNS)
    return dataclasses.replace(
        batch, columns={**batch.columns, **added}, unknown=(*batch.unknown, *unknown)
    )


def _first_line(error: Exception) -> str:
    text = str(getattr(error, "message", error))
    return text.splitlines()[0] if text else type(error).__name__
