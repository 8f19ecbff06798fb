"""The closed files of the log: Parquet in `log/span-<day>/`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from serving import files

LOG = "log"


def closed_files(folder: Path) -> Iterator[Path]:
    """Return the files of the log that services wrote, in order."""
    yield from sorted((folder / LOG).glob("span-*/clicks-*.parquet"))


def write_rows(path: Path, rows: pa.Table) -> None:
    """Write a file of the log, in one piece, that this user alone may read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = files.temporary_name(path)
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            pq.write_table(rows, stream)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
