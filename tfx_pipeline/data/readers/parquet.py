"""Reader of Parquet logs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from tfx_pipeline.data import contract
from tfx_pipeline.data.readers.base import BATCH_ROWS, RawBatch, check_columns
from tfx_pipeline.data.text_files import open_bytes
from vl_models.errors import UserError


def read_parquet(path: str) -> Iterator[RawBatch]:
    """Read the columns of the contract, batch by batch."""
    import pyarrow.parquet as pq

    with open_bytes(path) as stream:
        # Without pre-buffering: it would hold a whole row group of image bytes. Times of 96
        # bits would overflow as nanoseconds.
        file = pq.ParquetFile(stream, pre_buffer=False, coerce_int96_timestamp_unit="us")
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
        if first - 1 != file.metadata.num_rows:
            raise ValueError(f"{first - 1} of {file.metadata.num_rows} rows found")
