"""Split assignment: deterministic by keyed hash, by time, or as given."""

from __future__ import annotations

import datetime
import hashlib

import pyarrow as pa
import pyarrow.compute as pc

from tfx_pipeline.data.config import SplitConfig
from vl_models.features import SPLITS

TRAIN, VAL, TEST = SPLITS


def unit_hash(key: str, seed: int) -> float:
    """A number in [0, 1) that depends on the key and the seed only."""
    digest = hashlib.blake2b(
        key.encode("utf-8"), digest_size=8, key=seed.to_bytes(8, "little", signed=True)
    ).digest()
    # 53 bits, so that the quotient is exact and below 1.
    return (int.from_bytes(digest, "little") >> 11) / 2**53


def split_of(key: str, config: SplitConfig) -> str:
    """The split of a key: by its hash against the cumulated fractions."""
    position = unit_hash(key, config.seed)
    if position < config.train:
        return TRAIN
    return VAL if position < config.train + config.val else TEST


def assign_by_key(queries: pa.StringArray, images: pa.StringArray, config: SplitConfig) -> pa.Array:
    """Splits of pairs under `by_query`, `by_image` or `by_pair`.

    Args:
      queries: normalised queries [n].
      images: image ids [n].
      config: the split configuration.

    Returns:
      string array [n] of split names.
    """
    if config.policy == "by_pair":
        keys = pc.binary_join_element_wise(queries, images, "\0")
    else:
        keys = queries if config.policy == "by_query" else images
    if isinstance(keys, pa.ChunkedArray):
        keys = keys.combine_chunks()
    encoded = keys.dictionary_encode()
    names = pa.array([split_of(key, config) for key in encoded.dictionary.to_pylist()], pa.string())
    return names.take(encoded.indices)


def assign_by_time(times: pa.Array, config: SplitConfig) -> pa.Array:
    """Splits of rows by the two cut-off times: [.., val_from) train, [val_from, test_from) val.

    Args:
      times: timestamps [n].
      config: with `val_from` and `test_from`; naive times are UTC.

    Returns:
      string array [n].
    """
    assert config.val_from is not None and config.test_from is not None
    val_from, test_from = _utc(config.val_from), _utc(config.test_from)
    kind = pa.timestamp("us", tz="UTC")
    return pc.if_else(
        pc.less(times, pa.scalar(val_from, kind)),
        TRAIN,
        pc.if_else(pc.less(times, pa.scalar(test_from, kind)), VAL, TEST),
    )


def day_splits(rows_per_day: dict[int, int], config: SplitConfig) -> dict[int, str]:
    """Splits of whole days, so that each split's share of the rows comes nearest.

    A day belongs to the split in which the middle of its rows falls, in order of time.

    Args:
      rows_per_day: days since 1970-01-01 (UTC) → rows.
      config: with the fractions.
    """
    total = sum(rows_per_day.values())
    result: dict[int, str] = {}
    before = 0
    for day in sorted(rows_per_day):
        middle = (before + rows_per_day[day] / 2) / total
        if middle < config.train:
            result[day] = TRAIN
        elif middle < config.train + config.val:
            result[day] = VAL
        else:
            result[day] = TEST
        before += rows_per_day[day]
    return result


def _utc(moment: datetime.datetime) -> datetime.datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)
