"""Split assignment: deterministic by keyed hash, by time, or as given."""

from __future__ import annotations

import datetime
import hashlib
import itertools

import pyarrow as pa
import pyarrow.compute as pc

from tfx_pipeline.data.config import SplitConfig
from vl_models.errors import UserError
from vl_models.features import SPLITS

TRAIN, VAL, TEST = SPLITS


def unit_hash(key: str, seed: int) -> float:
    """Return a number in [0, 1) that depends on the key and the seed only."""
    digest = hashlib.blake2b(
        key.encode("utf-8"), digest_size=8, key=seed.to_bytes(8, "little", signed=True)
    ).digest()
    # 53 bits, so that the quotient is exact and below 1.
    return (int.from_bytes(digest, "little") >> 11) / 2**53


def split_of(key: str, config: SplitConfig) -> str:
    """Return the split of a key: by its hash against the cumulated fractions."""
    position = unit_hash(key, config.seed)
    if position < config.train:
        return TRAIN
    return VAL if position < config.train + config.val else TEST


def assign_by_key(queries: pa.StringArray, images: pa.StringArray, config: SplitConfig) -> pa.Array:
    """Split of pairs under `by_query`, `by_image` or `by_pair`.

    Args:
        queries: normalised queries [n].
        images: image ids [n]; duplicates have the id of their original.
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
    """Split of rows by the two cut-off times: [.., val_from) train, [val_from, test_from) val.

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
    """Split of whole days, so that each split's share of the rows comes nearest.

    A day belongs to the split in which the middle of its rows falls, in order of time; but
    each split with a fraction above 0 gets a day, as far as there are days (see `check_days`).

    Args:
        rows_per_day: days since 1970-01-01 (UTC) → rows.
        config: with the fractions.
    """
    days = sorted(rows_per_day)
    rows = [rows_per_day[day] for day in days]
    ends = list(itertools.accumulate(rows))
    middles = [(end - n / 2) / ends[-1] for end, n in zip(ends, rows, strict=True)]
    val_from = sum(middle < config.train for middle in middles)
    test_from = sum(middle < config.train + config.val for middle in middles)
    # Each split gets its day: the last one is of test, the one before it of val.
    test_from = min(test_from, len(days) - (config.test > 0))
    val_from = max(min(val_from, test_from - (config.val > 0)), int(config.train > 0))
    test_from = max(test_from, val_from + (config.val > 0))
    return {
        day: TRAIN if i < val_from else VAL if i < test_from else TEST for i, day in enumerate(days)
    }


def check_days(days: int, config: SplitConfig) -> None:
    """Check that whole days can be divided: `by_time` with fractions needs one per split.

    Raises:
        UserError: fewer days than splits with a fraction above 0.
    """
    if config.policy != "by_time" or config.val_from is not None:
        return
    wanted = [name for name in SPLITS if getattr(config, name) > 0]
    if days < len(wanted):
        raise UserError(
            f"The log covers {days} day(s), too few for the splits {', '.join(wanted)}: by_time "
            "gives each a whole day. Bring more days, set `splits.val_from` and "
            "`splits.test_from`, or choose the policy by_query."
        )


def _utc(moment: datetime.datetime) -> datetime.datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)
