"""Parquet files of an index, and what is said of one that is none."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from serving import files
from serving.errors import ServingError
from serving.index_description import REBUILD


@contextlib.contextmanager
def opened_table(path: Path, content: str) -> Iterator[pa.Table]:
    """Yield a file's table to what reads it.

    Args:
        path: of the file.
        content: what it should hold, as "with the columns id and uri".

    Raises:
        ServingError: no such file, or no such table; what Arrow says of its columns in the block
            included.
    """
    try:
        yield pq.read_table(io.BytesIO(files.read_bytes(path)))
    except ServingError:
        raise
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise ServingError(
            f"{path} is not a readable Parquet file {content}: {error}. {REBUILD}"
        ) from error
