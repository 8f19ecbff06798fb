"""Readers of the four log formats: streams of raw column batches with their origin.

A reader never holds a whole file, and it judges nothing but the form: a file that cannot be
read to its end is a UserError, a row that cannot be parsed is a rejected row. What the
columns mean is checked in validate.py.
"""

from __future__ import annotations

import base64
import codecs
import contextlib
import csv
import dataclasses
import gzip
import io
import itertools
import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from tfx_pipeline.data import contract
from tfx_pipeline.data.contract import Reason, Rejected
from tfx_pipeline.data.partitions import column_values
from tfx_pipeline.storage.objects import local_copy, open_object
from tfx_pipeline.storage.uris import is_uri
from vl_models.errors import UserError

BATCH_ROWS = 65_536

_SUFFIXES = {
    ".parquet": "parquet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tfrecord": "tfrecord",
    ".tfrecords": "tfrecord",
}


@dataclasses.dataclass(frozen=True)
class RawBatch:
    """Rows of one file, by column, as they were found.

    Attributes:
        file: path or URI.
        rows: row numbers int64[n], 1-based.
        columns: column name → Arrow array [n]; text may be binary, numbers may be text.
        rejected: rows beside these that could not be parsed.
        unknown: names of columns that the contract does not know.
    """

    file: str
    rows: np.ndarray
    columns: dict[str, pa.Array]
    rejected: tuple[Rejected, ...] = ()
    unknown: tuple[str, ...] = ()


def detect_format(path: str) -> str:
    """Return the format that a file's name says, looking through a final `.gz`.

    Raises:
        UserError: the suffix is none of the known ones.
    """
    name = path.removesuffix(".gz")
    for suffix, kind in _SUFFIXES.items():
        if name.endswith(suffix):
            return kind
    raise UserError(
        f"{path}: cannot tell the log's format from its name. Name it "
        f"{', '.join(_SUFFIXES)}, or set `format` to parquet, jsonl, csv or tfrecord."
    )


def read_batches(path: str, file_format: str = "auto") -> Iterator[RawBatch]:
    """Read a log file as a stream of batches of at most 65,536 rows.

    Args:
        path: local path, or a URI of s3:// or gs://.
        file_format: `parquet`, `jsonl`, `csv`, `tfrecord`, or `auto` (by the name).

    Raises:
        UserError: the file is missing, broken or lacks a required column; names the file.
    """
    kind = detect_format(path) if file_format == "auto" else file_format
    reader: Callable[[str], Iterator[RawBatch]] = {
        "parquet": _read_parquet,
        "jsonl": _read_jsonl,
        "csv": _read_csv,
        "tfrecord": _read_tfrecord,
    }[kind]
    values = column_values(path)
    for batch in reader(path):
        yield _with_columns(batch, values) if values else batch


def _with_columns(batch: RawBatch, values: Mapping[str, str | None]) -> RawBatch:
    """Add what the file's folders say about all of its rows; the file's own columns win."""
    text = pa.string()
    added = {
        name: pa.repeat(pa.scalar(value, text), len(batch.rows))
        for name, value in values.items()
        if name in contract.COLUMNS and name not in batch.columns
    }
    unknown = tuple(name for name in values if name not in contract.COLUMNS)
    return dataclasses.replace(
        batch, columns={**batch.columns, **added}, unknown=(*batch.unknown, *unknown)
    )


def check_columns(path: str, names: Iterable[str]) -> tuple[str, ...]:
    """Check that the required columns are there; return the unknown ones.

    Raises:
        UserError: names the file, the missing columns and those found.
    """
    names = [contract.printable(name) for name in names]
    known = {*names, *column_values(path)}
    missing = [name for name in contract.REQUIRED_COLUMNS if name not in known]
    if known.isdisjoint(contract.CLICK_COLUMNS):
        missing.append("clicked (or clicks)")
    if missing:
        raise UserError(
            f"{path}: column {', '.join(missing)} is missing. Columns found: "
            f"{', '.join(names) or 'none'}. Rename the columns of the log or add them"
            + (", and separate them by commas." if len(names) == 1 and ";" in names[0] else ".")
        )
    return tuple(name for name in names if name not in contract.COLUMNS)


def _broken(path: str, kind: str, error: object) -> UserError:
    return UserError(
        f"{path}: cannot be read to its end as {kind} ({error}). The file is incomplete or "
        "damaged: write it again, or take it out of the input."
    )


@contextlib.contextmanager
def _open(path: str) -> Iterator[Any]:
    """Return the file's bytes as a stream, unpacked if it is a `.gz`."""
    from apache_beam.io.filesystem import CompressionTypes
    from apache_beam.io.filesystems import FileSystems

    with contextlib.ExitStack() as stack:
        try:
            stream = stack.enter_context(
                open_object(path)
                if is_uri(path)
                else FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED)
            )
        except OSError as error:
            raise UserError(f"{path}: cannot be opened ({error}). Check the path.") from error
        yield stack.enter_context(gzip.open(stream)) if path.endswith(".gz") else stream


def _read_parquet(path: str) -> Iterator[RawBatch]:
    import pyarrow.parquet as pq

    with _open(path) as stream:
        try:
            # Without pre-buffering: it would hold a whole row group of image bytes.
            file = pq.ParquetFile(stream, pre_buffer=False)
            names = file.schema_arrow.names
            unknown = check_columns(path, names)
            known = [name for name in names if name in contract.COLUMNS]
            for field in file.schema_arrow:
                if field.name in known and pa.types.is_nested(field.type):
                    raise UserError(
                        f"{path}: column {field.name} has the type {field.type}; the log "
                        "needs one value per row. Unnest it."
                    )
            rows_with_bytes = 1_024 if "image_bytes" in known else BATCH_ROWS
            first = 1
            for batch in file.iter_batches(batch_size=rows_with_bytes, columns=known):
                rows = np.arange(first, first + batch.num_rows, dtype=np.int64)
                columns = dict(zip(batch.schema.names, batch.columns, strict=True))
                yield RawBatch(path, rows, columns, unknown=unknown)
                first += batch.num_rows
        except (pa.ArrowException, OSError) as error:
            raise _broken(path, "Parquet", _first_line(error)) from error


def _read_csv(path: str) -> Iterator[RawBatch]:
    csv.field_size_limit(1 << 30)
    with _open(path) as stream:
        # surrogateescape carries broken bytes to the row check, which names row and column.
        text = io.TextIOWrapper(stream, "utf-8-sig", errors="surrogateescape", newline="")
        reader = csv.reader(text)
        try:
            header = next((record for record in reader if not _is_blank(record)), None)
            if header is None:
                return  # an empty file holds no rows; a wholly empty log is reported as such
            check_columns(path, header)
            numbered = enumerate(reader, 1)
            while records := list(itertools.islice(numbered, BATCH_ROWS)):
                yield _csv_batch(path, header, records)
        except (csv.Error, OSError, EOFError, zlib.error) as error:
            raise _broken(path, "CSV", error) from error


def _is_blank(record: list[str]) -> bool:
    return len(record) <= 1 and not "".join(record).strip()


def _csv_batch(path: str, header: list[str], records: list[tuple[int, list[str]]]) -> RawBatch:
    kept: list[dict[str, Any]] = []
    rows: list[int] = []
    rejected: list[Rejected] = []
    for number, record in records:
        if len(record) == len(header):
            kept.append({name: value or None for name, value in zip(header, record)})
            rows.append(number)
        elif not _is_blank(record):
            message = f"{len(record)} fields where the header has {len(header)}"
            content = contract.content_json({"fields": ",".join(record)})
            rejected.append(Rejected(path, number, Reason.MALFORMED_ROW, message, 1, content))
    return _record_batch(path, kept, rows, rejected)


def _read_jsonl(path: str) -> Iterator[RawBatch]:
    with _open(path) as stream:
        numbered = enumerate(stream, 1)
        try:
            while lines := list(itertools.islice(numbered, BATCH_ROWS)):
                yield _jsonl_batch(path, lines)
        except (OSError, EOFError, zlib.error) as error:
            raise _broken(path, "JSON lines", error) from error


def _jsonl_batch(path: str, lines: list[tuple[int, bytes]]) -> RawBatch:
    records: list[dict[str, Any]] = []
    rows: list[int] = []
    rejected: list[Rejected] = []
    for number, raw in lines:
        line = raw.removeprefix(codecs.BOM_UTF8) if number == 1 else raw
        if not line.strip():
            continue
        try:
            record = json.loads(line.decode("utf-8", "surrogateescape"))
            if not isinstance(record, dict):
                raise ValueError("the line is not a JSON object")
        except ValueError as error:
            content = contract.content_json({"line": line[:1000].decode("utf-8", "replace")})
            rejected.append(
                Rejected(path, number, Reason.MALFORMED_ROW, f"no JSON: {error}", 1, content)
            )
            continue
        records.append(record)
        rows.append(number)
    return _record_batch(path, records, rows, rejected)


def _read_tfrecord(path: str) -> Iterator[RawBatch]:
    if not is_uri(path):
        yield from _read_local_tfrecord(path, path)
        return
    try:
        # TensorFlow reads no s3, and gs with credentials of its own.
        with local_copy(path) as local:
            yield from _read_local_tfrecord(path, str(local))
    except FileNotFoundError as error:
        raise UserError(f"{path}: cannot be opened ({error}). Check the path.") from error


def _read_local_tfrecord(path: str, local: str) -> Iterator[RawBatch]:
    """Return the rows of the file ``local``, which is called ``path`` towards people."""
    import tensorflow as tf

    from vl_models.input.untuned import untuned

    compression = "GZIP" if path.endswith(".gz") else ""
    dataset = untuned(tf.data.TFRecordDataset([local], compression))
    numbered = enumerate(dataset.as_numpy_iterator(), 1)
    try:
        while serialized := list(itertools.islice(numbered, 4_096)):
            records, rows, rejected = [], [], []
            for row, record in serialized:
                try:
                    records.append(_from_example(tf.train.Example.FromString(record)))
                    rows.append(row)
                except Exception as error:
                    # The protobuf runtimes raise classes of their own for broken bytes.
                    if type(error).__name__ != "DecodeError":
                        raise
                    message = "the record is not a tf.Example"
                    rejected.append(Rejected(path, row, Reason.MALFORMED_ROW, message))
            yield _record_batch(path, records, rows, rejected)
    except tf.errors.OpError as error:
        raise _broken(path, "TFRecord", _first_line(error.message)) from error


def _from_example(example: Any) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for name, feature in example.features.feature.items():
        kind = feature.WhichOneof("kind")
        if kind is None:
            continue
        values = getattr(feature, kind).value
        if len(values):
            row[name] = values[0]
    return row


def _record_batch(
    path: str, records: list[dict[str, Any]], rows: list[int], rejected: list[Rejected]
) -> RawBatch:
    names = dict.fromkeys(name for record in records for name in record)
    columns = {
        name: _array([record.get(name) for record in records], name)
        for name in contract.COLUMNS
        if name in names
    }
    unknown = tuple(contract.printable(name) for name in names if name not in contract.COLUMNS)
    return RawBatch(path, np.array(rows, np.int64), columns, tuple(rejected), unknown)


def _array(values: list[Any], name: str) -> pa.Array:
    """An Arrow array of whatever the rows hold: its own type if uniform, else binary text."""
    if name == "image_bytes":
        return pa.array([_image_bytes(value) for value in values], pa.binary())
    try:
        array = pa.array(values)
        if not pa.types.is_nested(array.type):
            return array
    except (pa.ArrowInvalid, pa.ArrowTypeError, UnicodeEncodeError, OverflowError):
        pass  # mixed or broken values: as text, for the row check to judge
    return pa.array([_as_bytes(value) for value in values], pa.binary())


def _image_bytes(value: Any) -> bytes | None:
    """Image bytes; text formats carry them in base64."""
    if isinstance(value, str):
        try:
            return base64.b64decode(value.encode("utf-8", "surrogateescape"), validate=True)
        except ValueError:
            return b""  # reported as an empty image
    return value


def _as_bytes(value: Any) -> bytes | None:
    if value is None or isinstance(value, bytes):
        return value
    text = value if isinstance(value, str) else json.dumps(value)
    return contract.to_bytes(text)


def _first_line(error: object) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
