"""Reader of logs as TFRecords of tf.Example."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfx_pipeline.data import contract
from tfx_pipeline.data.contract import Rejected
from tfx_pipeline.data.readers.base import RawBatch, malformed, record_batch
from tfx_pipeline.storage.objects import local_copy
from tfx_pipeline.storage.uris import is_uri
from vl_models.errors import UserError

_GZIP = b"\x1f\x8b\x08\x00"


def read_tfrecord(path: str) -> Iterator[RawBatch]:
    """Read one tf.Example per row, whose features are named like the columns."""
    if not is_uri(path):
        yield from _read_local(path, path)
        return
    try:
        # TensorFlow reads no s3, and gs with credentials of its own.
        with local_copy(path) as local:
            yield from _read_local(path, str(local))
    except FileNotFoundError as error:
        raise UserError(f"{path}: cannot be opened ({error}). Check the path.") from error


def _read_local(path: str, local: str) -> Iterator[RawBatch]:
    """Return the rows of the file ``local``, which is called ``path`` towards people."""
    import tensorflow as tf

    from vl_models.input.untuned import untuned

    try:
        with Path(local).open("rb") as stream:
            packed = stream.read(len(_GZIP)) == _GZIP
    except OSError as error:
        raise UserError(f"{path}: cannot be opened ({error}). Check the path.") from error
    dataset = untuned(tf.data.TFRecordDataset([local], "GZIP" if packed else ""))
    numbered = enumerate(dataset.as_numpy_iterator(), 1)
    while serialized := list(itertools.islice(numbered, 4_096)):
        records: list[dict[str, Any]] = []
        rows: list[int] = []
        rejected: list[Rejected] = []
        for row, record in serialized:
            try:
                records.append(_record(tf.train.Example.FromString(record)))
                rows.append(row)
            except ValueError as error:
                rejected.append(malformed(path, row, str(error)))
            except Exception as error:
                # The protobuf runtimes raise classes of their own for broken bytes.
                if type(error).__name__ != "DecodeError":
                    raise
                rejected.append(malformed(path, row, "the record is not a tf.Example"))
        yield record_batch(path, records, rows, rejected, len(serialized))


def _record(example: Any) -> dict[str, Any]:
    """The values of an Example; raises ValueError with what is wrong."""
    record: dict[str, Any] = {}
    for name, feature in example.features.feature.items():
        kind = feature.WhichOneof("kind")
        values: Sequence[Any] = getattr(feature, kind).value if kind else []
        if len(values) > 1 and name in contract.COLUMNS:
            raise ValueError(
                f"{name} has {len(values)} values; the log needs one value per row. Unnest it."
            )
        if len(values):
            # Python's floats would hide how few digits these have.
            record[name] = np.float32(values[0]) if kind == "float_list" else values[0]
    return record
