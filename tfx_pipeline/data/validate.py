"""Row validation: raw batches in, a clean table and the rejected rows out.

Whole columns are checked by Arrow; single rows are looked at only where a column fails.
"""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tfx_pipeline.data import contract
from tfx_pipeline.data.contract import Reason, Rejected
from tfx_pipeline.data.readers import RawBatch
from vl_models.features import SPLITS

_TIME = pa.timestamp("us", tz="UTC")


def validate(
    batch: RawBatch, *, times: bool = False, splits: bool = False
) -> tuple[pa.Table, list[Rejected]]:
    """Check a batch against the row contract.

    Args:
        batch: as a reader yields it.
        times: rows need a `timestamp` (split policy by_time); otherwise it is ignored.
        splits: read the `split` column (split policy given); otherwise it is ignored.

    Returns:
        The clean rows (contract.CLEAN_SCHEMA) and the rejected ones, those that the reader
        rejected included. The first fault found in a row is its reason.
    """
    checks = _Checks(batch)
    query = checks.text("query", Reason.MISSING_QUERY)
    image_id = checks.text("image_id", Reason.MISSING_IMAGE_ID)
    clicks, impressions = checks.counts()
    position = checks.position()
    count = len(batch.rows)
    table = pa.table(
        [
            query,
            image_id,
            pa.array(clicks),
            pa.array(position),
            pa.array(impressions),
            checks.split() if splits else pa.nulls(count, pa.string()),
            checks.time() if times else pa.nulls(count, _TIME),
            checks.text("language"),
            checks.label(),
            checks.text("label_text"),
            checks.text("image_uri"),
            pa.array(batch.rows),
        ],
        schema=contract.CLEAN_SCHEMA,
    )
    rejected = [*batch.rejected, *checks.rejected()]
    if checks.bad:
        good = np.ones(count, bool)
        good[list(checks.bad)] = False
        table = table.filter(pa.array(good))
    return table, rejected


class _Checks:
    """The columns of one batch; `bad` collects index → (reason, message)."""

    def __init__(self, batch: RawBatch):
        self.batch = batch
        self.count = len(batch.rows)
        self.bad: dict[int, tuple[Reason, str]] = {}

    def fail(self, index: int, reason: Reason, message: str) -> None:
        """Note the first fault of a row."""
        self.bad.setdefault(index, (reason, message))

    def text(self, name: str, missing: Reason | None = None) -> pa.Array:
        """Return a text column, trimmed; empty is null. With `missing`, null is a fault."""
        array = self.batch.columns.get(name)
        if array is None:
            result = pa.nulls(self.count, pa.string())
        else:
            result = pc.utf8_trim_whitespace(self._utf8(name, array))
            result = pc.if_else(pc.equal(result, ""), pa.scalar(None, pa.string()), result)
        if missing is not None and result.null_count:
            for index in np.flatnonzero(result.is_null().to_numpy(zero_copy_only=False)):
                self.fail(int(index), missing, f"{name} is missing or empty")
        return result

    def _utf8(self, name: str, array: pa.Array) -> pa.Array:
        if pa.types.is_dictionary(array.type):
            array = array.dictionary_decode()
        kind = array.type
        if not (pa.types.is_binary(kind) or pa.types.is_large_binary(kind)):
            if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
                return array.cast(pa.string())  # ids may be numbers
            array = array.cast(pa.large_binary() if pa.types.is_large_string(kind) else pa.binary())
        try:
            return array.cast(pa.string())  # checks the UTF-8
        except pa.ArrowInvalid:
            return pa.array(
                [self._decode(name, i, v) for i, v in enumerate(array.to_pylist())], pa.string()
            )

    def _decode(self, name: str, index: int, value: bytes | None) -> str | None:
        try:
            return None if value is None else value.decode("utf-8")
        except UnicodeDecodeError as error:
            message = f"{name} is not valid UTF-8 (byte {error.start})"
            self.fail(index, Reason.INVALID_UTF8, message)
            return None

    def integers(self, name: str, reason: Reason = Reason.BAD_NUMBER) -> tuple[Any, Any]:
        """Return a whole-number column: values int64[n] (0 where absent) and present bool[n]."""
        array = self.batch.columns.get(name)
        if array is None or pa.types.is_null(array.type):
            return np.zeros(self.count, np.int64), np.zeros(self.count, bool)
        try:
            if pa.types.is_string(array.type) or pa.types.is_binary(array.type):
                array = array.cast(pa.string())
            numbers = array.cast(pa.int64())  # refuses fractions, NaN and overflow
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            numbers = pa.array(
                [self._integer(name, i, v, reason) for i, v in enumerate(array.to_pylist())],
                pa.int64(),
            )
        present = ~numbers.is_null().to_numpy(zero_copy_only=False)
        return numbers.fill_null(0).to_numpy(zero_copy_only=False), present

    def _integer(self, name: str, index: int, value: Any, reason: Reason) -> int | None:
        if isinstance(value, bytes):
            value = value.decode("utf-8", "replace")
        if isinstance(value, str):
            value = value.strip()
            if value.lower() in ("true", "false"):
                return int(value.lower() == "true")
        if value is None or value == "":
            return None
        try:
            number = float(value)
            if number == int(number) and abs(number) < 2**53:
                return int(number)
        except (ValueError, OverflowError, TypeError):
            pass
        self.fail(index, reason, f"{name} is not a whole number: {str(value)[:100]!r}")
        return None

    def counts(self) -> tuple[np.ndarray, np.ndarray]:
        """Clicks and impressions int64[n] from `clicks`/`impressions` or `clicked`."""
        clicks, has_clicks = self.integers("clicks")
        clicked, has_clicked = self.integers("clicked")
        impressions, has_impressions = self.integers("impressions")
        counts = {"clicks": clicks, "clicked": clicked, "impressions": impressions}
        for name, values in counts.items():
            for index in np.flatnonzero(values < 0):
                message = f"{name} is negative: {values[index]}"
                self.fail(int(index), Reason.NEGATIVE_COUNT, message)
        for index in np.flatnonzero(has_clicked & ~has_clicks & (clicked > 1)):
            message = f"clicked is neither 0 nor 1: {clicked[index]}"
            self.fail(int(index), Reason.BAD_NUMBER, message)
        for index in np.flatnonzero(~(has_clicks | has_clicked)):
            self.fail(int(index), Reason.BAD_NUMBER, "neither clicked nor clicks has a value")
        total = np.where(has_clicks, clicks, clicked)
        shown = np.where(has_clicks, clicks, 1)
        return total, np.where(has_impressions, impressions, shown)

    def position(self) -> np.ndarray:
        """Positions int32[n]; 0 where the log has none."""
        values, present = self.integers("position", Reason.BAD_POSITION)
        for index in np.flatnonzero(present & ((values < 1) | (values >= 2**31))):
            message = f"position must be 1 or more: {values[index]}"
            self.fail(int(index), Reason.BAD_POSITION, message)
        return np.where(values < 2**31, values, 0).astype(np.int32)

    def label(self) -> pa.Array:
        """Label ids, null where absent."""
        values, present = self.integers("label")
        return pa.array(values, mask=~present)

    def split(self) -> pa.Array:
        """Split names; null where the log assigns none."""
        names = self.text("split")
        known = pc.or_kleene(names.is_null(), pc.is_in(names, pa.array(SPLITS)))
        for index in np.flatnonzero(~known.to_numpy(zero_copy_only=False)):
            message = f"split is none of {', '.join(SPLITS)}: {names[int(index)].as_py()!r}"
            self.fail(int(index), Reason.BAD_SPLIT, message)
        return names

    def time(self) -> pa.Array:
        """Timestamps in UTC from times, ISO 8601 text or seconds since 1970."""
        array = self.batch.columns.get("timestamp")
        if array is None:
            array = pa.nulls(self.count, pa.string())
        if pa.types.is_timestamp(array.type) and array.type.tz is not None:
            times = array.cast(_TIME, safe=False)
        elif pa.types.is_timestamp(array.type) or pa.types.is_date(array.type):
            times = array.cast(pa.timestamp("us"), safe=False).cast(_TIME)  # naive is UTC
        else:
            values = [self._time(i, v) for i, v in enumerate(array.to_pylist())]
            times = pa.array(values, _TIME)
        for index in np.flatnonzero(times.is_null().to_numpy(zero_copy_only=False)):
            self.fail(int(index), Reason.BAD_TIMESTAMP, "timestamp is missing")
        return times

    def _time(self, index: int, value: Any) -> datetime.datetime | None:
        if isinstance(value, bytes):
            value = value.decode("utf-8", "replace")
        if value is None or value == "":
            return None
        try:
            if isinstance(value, str) and not value.strip().replace(".", "", 1).isdigit():
                moment = datetime.datetime.fromisoformat(value.strip())
                return moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)
            return datetime.datetime.fromtimestamp(float(value), datetime.UTC)
        except (ValueError, OverflowError, OSError, TypeError):
            message = f"timestamp is neither ISO 8601 nor seconds since 1970: {str(value)[:100]!r}"
            self.fail(index, Reason.BAD_TIMESTAMP, message)
            return None

    def rejected(self) -> list[Rejected]:
        """Return the faulty rows, with their content."""
        columns = {k: v for k, v in self.batch.columns.items() if k != "image_bytes"}
        result = []
        for index in sorted(self.bad):
            reason, message = self.bad[index]
            content = {name: _value(array, index) for name, array in columns.items()}
            result.append(
                Rejected(
                    self.batch.file,
                    int(self.batch.rows[index]),
                    reason,
                    message,
                    1,
                    contract.content_json(content),
                )
            )
        return result


def _value(array: pa.Array, index: int) -> Any:
    """Return a cell as Python sees it; text that is not UTF-8 as bytes."""
    try:
        return array[index].as_py()
    except UnicodeDecodeError:
        return array.slice(index, 1).cast(pa.binary())[0].as_py()
