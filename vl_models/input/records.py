"""Serialised records in a seeded order that can be entered at any position.

An epoch is a seeded permutation of the shards, cut into windows of a few shards. A window
reads its shards side by side and passes them through a shuffle buffer of serialised records
that is drained at the window's end. So a position is (epoch, window, offset), and entering it
re-reads at most one window, without decoding anything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import tensorflow as tf

from vl_models.errors import UserError
from vl_models.input.patterns import in_folder
from vl_models.input.similarity import by_similarity
from vl_models.input.untuned import processors, untuned

# A row's index is copy · 2**48 + shard · 2**32 + offset in the shard; copies are of records
# that an epoch draws repeatedly.
_SHARD = 2**32
_COPY = 2**48
COPIES = 2**15
# Records that are selected together: a function call per record would cost as much as reading.
_SELECTED = 64
# A record's place in the epoch is window · 2**32 + offset in the order that leaves the buffer.
_WINDOW = 2**32
# Distinguish the random streams that one (seed, epoch) feeds.
_SHARD_ORDER, _BUFFER, _SIMILAR = 1, 2, 3


Records = dict[str, tf.Tensor]
# Serialised records string [B], rows int64 [B], epoch int64 scalar to how often the epoch
# takes each, int64 [B]; a graph function of each row alone.
Select = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]


class InputPosition(NamedTuple):
    """Where the next batch starts."""

    epoch: int = 0
    window: int = 0
    offset: int = 0


START = InputPosition()


@dataclass(frozen=True)
class Shuffle:
    """How records are ordered.

    Attributes:
        seed: of the run.
        shards: read together.
        buffer: records in the shuffle buffer.
        similar: whether similar images follow each other, see `vl_models.input.similarity`.
    """

    seed: int
    shards: int
    buffer: int
    similar: bool = False


def find_shards(patterns: Sequence[str]) -> list[str]:
    """Paths of all shards, sorted, so that a shard's index is stable.

    Raises:
        UserError: a pattern matches no file.
    """
    shards: set[str] = set()
    for pattern in patterns:
        found = tf.io.gfile.glob(in_folder(str(pattern)))
        if not found:
            raise UserError(f"No record file matches {pattern}.")
        shards.update(found)
    return sorted(shards)


def count_records(shards: Sequence[str], at_most: int | None = None) -> int:
    """Count records without parsing them, stopping at ``at_most``.

    Raises:
        UserError: a file that is not a complete TFRecord file.
    """
    records = read_records(shards)
    if at_most is not None:
        records = records.take(at_most)
    try:
        return int(records.reduce(tf.constant(0, tf.int64), lambda total, _: total + 1).numpy())
    except tf.errors.DataLossError as error:
        raise UserError(f"A record file is damaged or cut off: {error.message}") from error


def read_records(shards: Sequence[str]) -> tf.data.Dataset:
    """All serialised records once, shards side by side, always in the same order."""
    files = tf.data.Dataset.from_tensor_slices(list(shards))
    width = min(16, len(shards))
    return untuned(
        files.interleave(
            _read_shard, cycle_length=width, num_parallel_calls=min(width, processors())
        )
    )


def ordered_batches(
    shards: Sequence[str],
    batch_size: int,
    shuffle: Shuffle | None,
    start: InputPosition,
    select: Select | None = None,
) -> tf.data.Dataset:
    """Global batches of the records of all epochs from ``start`` on.

    A batch lies in one epoch; the remainder of an epoch that fills no batch is dropped.

    Args:
        shards: paths of GZIP TFRecord files (by the ending .gz; else uncompressed).
        batch_size: B, of the global batch.
        shuffle: None keeps the order of shards and records.
        start: where to begin.
        select: how often an epoch takes each record; every record once without it.

    Returns:
        An infinite dataset of dicts: record string [B], row int64 [B] (copy << 48 | shard index
        << 32 | offset in the shard), epoch int64 scalar, position int64 [3] where the next
        batch starts.
    """
    # Unshuffled evaluation wants the files' own order, so shards are not read side by side.
    width = min(shuffle.shards if shuffle else 1, len(shards))
    windows = -(-len(shards) // width)
    paths = tf.constant(list(shards))

    # No function runs per record: calling one costs about as much as reading the record.
    def epoch_batches(epoch: tf.Tensor) -> tf.data.Dataset:
        first_window = tf.where(epoch == start.epoch, tf.constant(start.window, tf.int64), 0)
        order = tf.range(len(shards), dtype=tf.int64)
        if shuffle:
            seed = _stream_seed(shuffle.seed, _SHARD_ORDER, epoch)
            order = tf.random.experimental.stateless_shuffle(order, seed)

        def window_records(window: tf.Tensor) -> tf.data.Dataset:
            members = order[window * width : (window + 1) * width]
            files = tf.data.Dataset.from_tensor_slices((members, tf.gather(paths, members)))
            records = files.interleave(
                _read_rows, cycle_length=width, num_parallel_calls=width, deterministic=True
            )
            if select is not None:
                # Before the shuffle: positions count what an epoch takes, copies included.
                records = _selected(records, select, epoch)
            if shuffle:
                # The process-wide seed must not reach in: a resumed run may not have set it.
                tf.compat.v1.set_random_seed(None)
                seed = _stream_seed(shuffle.seed, _BUFFER, epoch)
                buffer_seed = tf.random.stateless_uniform(
                    [], seed + tf.stack([tf.zeros_like(window), window]), None, None, tf.int64
                )
                records = records.shuffle(
                    shuffle.buffer, buffer_seed, reshuffle_each_iteration=False
                )
                if shuffle.similar:
                    seed = _stream_seed(shuffle.seed, _SIMILAR, epoch)
                    records = by_similarity(records, seed, shuffle.buffer)
            resumed = (epoch == start.epoch) & (window == start.window)
            skipped = tf.where(resumed, tf.constant(start.offset, tf.int64), 0)
            return records.enumerate(window * _WINDOW).skip(skipped)

        def with_position(places: tf.Tensor, rows: tuple[tf.Tensor, tf.Tensor]) -> Records:
            window, offset = places[-1] // _WINDOW, places[-1] % _WINDOW
            position = tf.stack([epoch, window, offset + 1])
            return {"row": rows[0], "record": rows[1], "epoch": epoch, "position": position}

        # One window at a time, but the next one's buffer fills in the background.
        records = tf.data.Dataset.range(first_window, windows).interleave(
            window_records, cycle_length=1, num_parallel_calls=1, deterministic=True
        )
        return records.batch(batch_size, drop_remainder=True).map(with_position)

    return tf.data.Dataset.range(start.epoch, tf.int64.max).flat_map(epoch_batches)


def row_place(rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Index of the shard and offset in it, int64, of rows."""
    return rows % _COPY // _SHARD, rows % _SHARD


def _selected(records: tf.data.Dataset, select: Select, epoch: tf.Tensor) -> tf.data.Dataset:
    """(row, record) as often as ``select`` says; copies get rows of their own."""

    def repeat(rows: tf.Tensor, serialized: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        counts = select(serialized, rows, epoch)
        taken = tf.repeat(tf.range(tf.size(counts)), counts)
        first = tf.gather(tf.cumsum(counts, exclusive=True), taken)
        copies = tf.range(tf.size(taken, out_type=tf.int64)) - first
        return tf.gather(rows, taken) + copies * _COPY, tf.gather(serialized, taken)

    return records.batch(_SELECTED).map(repeat).unbatch()


def _stream_seed(seed: int, stream: int, epoch: tf.Tensor) -> tf.Tensor:
    """int64 [2]: the seed of one of the run's random streams in one epoch."""
    run = tf.constant([seed, stream], tf.int64)
    key = tf.random.stateless_uniform([], run, None, None, tf.int64)
    return tf.stack([key, epoch * _SHARD])


def _read_shard(path: tf.Tensor) -> tf.data.Dataset:
    compression = tf.where(tf.strings.regex_full_match(path, r".*\.gz"), "GZIP", "")
    return tf.data.TFRecordDataset(path, compression_type=compression)


def _read_rows(shard: tf.Tensor, path: tf.Tensor) -> tf.data.Dataset:
    return _read_shard(path).enumerate(shard * _SHARD)
