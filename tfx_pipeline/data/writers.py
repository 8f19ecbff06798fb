"""Atomic writers: TFRecord shards, the relevance table, rejected rows, the summary.

Every file is written under a temporary name in the output folder and renamed, so that a
reader sees whole files only, also after a crash or a retried bundle.
"""

from __future__ import annotations

import contextlib
import json
import uuid
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pyarrow as pa

from tfx_pipeline.data.contract import Rejected

Features = dict[str, Sequence[bytes] | Sequence[int] | Sequence[float]]

RELEVANCE_SCHEMA = pa.schema(
    [
        ("query", pa.string()),
        ("image_id", pa.string()),
        ("clicks", pa.int64()),
        ("weight", pa.float32()),
        ("split", pa.string()),
        ("language", pa.string()),
        ("correlation", pa.string()),  # of the query: strong | weak
        ("correlation_score", pa.float32()),  # null where the clicks were too few
    ]
)


def shard_name(shard: int, shards: int) -> str:
    """File name of a TFRecord shard."""
    return f"data_tfrecord-{shard:05d}-of-{shards:05d}.gz"


@contextlib.contextmanager
def atomic_path(path: str) -> Iterator[str]:
    """Return a temporary path beside `path`, renamed to it on success and removed on failure."""
    import tensorflow as tf

    # The dot hides it from TFX, which reads every other file of a split's folder.
    folder, name = path.rsplit("/", 1)
    temporary = f"{folder}/.{name}.{uuid.uuid4().hex[:8]}"
    tf.io.gfile.makedirs(folder)
    try:
        yield temporary
        tf.io.gfile.rename(temporary, path, overwrite=True)
    except BaseException:
        if tf.io.gfile.exists(temporary):
            tf.io.gfile.remove(temporary)
        raise


def exists(path: str) -> bool:
    """Whether a file is there, on any file system."""
    import tensorflow as tf

    return tf.io.gfile.exists(path)


def write_bytes(path: str, data: bytes) -> None:
    """Write a file."""
    import tensorflow as tf

    with atomic_path(path) as temporary, tf.io.gfile.GFile(temporary, "wb") as stream:
        stream.write(data)


@contextlib.contextmanager
def record_writer(path: str) -> Iterator[Any]:
    """Return a GZIP TFRecord writer. Level 0 stores: JPEG and PNG are compressed already."""
    import tensorflow as tf

    options = tf.io.TFRecordOptions(compression_type="GZIP", compression_level=0)
    with atomic_path(path) as temporary, tf.io.TFRecordWriter(temporary, options) as writer:
        yield writer


def read_records(path: str) -> Iterator[Any]:
    """Return the tf.Examples of a GZIP TFRecord file."""
    import tensorflow as tf

    from vl_models.input.untuned import untuned

    # In small batches: one tf.data call per record would cost as much as encoding an image.
    for batch in untuned(tf.data.TFRecordDataset([path], "GZIP").batch(16)).as_numpy_iterator():
        yield from map(tf.train.Example.FromString, batch)


def write_records(path: str, examples: Iterable[bytes]) -> int:
    """Write serialised Examples to a file, unless there are none; returns how many there are."""
    remaining = iter(examples)
    first = next(remaining, None)
    if first is None:
        return 0
    written = 1
    with record_writer(path) as writer:
        writer.write(first)
        for written, example in enumerate(remaining, 2):  # noqa: B007
            writer.write(example)
    return written


def make_example(features: Features) -> Any:
    """Return a tf.Example; empty lists become features without values."""
    import tensorflow as tf

    example = tf.train.Example()
    for name, values in features.items():
        feature = example.features.feature[name]
        if not len(values):
            continue
        kind = type(values[0])
        target = {bytes: "bytes_list", int: "int64_list", float: "float_list"}[kind]
        getattr(feature, target).value.extend(values)
    return example


def write_table(path: str, schema: pa.Schema, tables: Iterable[pa.Table]) -> None:
    """Write the columns of a schema as one Parquet file, one row group per table."""
    import pyarrow.parquet as pq

    with atomic_path(path) as temporary, pq.ParquetWriter(temporary, schema) as writer:
        for table in tables:
            writer.write_table(table.select(schema.names).cast(schema))


def write_rejected(folder: str, shard: int, shards: int, rejected: Iterable[Rejected]) -> None:
    """Write one file of rejected rows, sorted by source and row."""
    name = f"rejected-{shard:05d}-of-{shards:05d}.jsonl"
    lines = "".join(f"{row.to_json()}\n" for row in sorted(rejected))
    write_bytes(f"{folder}/{name}", lines.encode())


def write_summary(folder: str, stats: dict[str, Any]) -> None:
    """Write the counts of the run as summary.json."""
    text = json.dumps(stats, ensure_ascii=False, indent=2, sort_keys=True)
    write_bytes(f"{folder}/summary.json", f"{text}\n".encode())
