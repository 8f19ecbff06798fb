"""Row validation: raw batches in, a clean table and the rejected rows out.

Whole columns are checked by Arrow; single rows are looked at only where a column fails.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tfx_pipeline.data import contract
from tfx_pipeline.data.columns import (
    TIME,
    bytes_column,
    integer_column,
    text_column,
    time_column,
    value_at,
)
from tfx_pipeline.data.contract import Reason, Rejected
from tfx_pipeline.data.readers import RawBatch
from tfx_pipeline.data.values import ValueFault
from vl_models.features import SPLITS

_CONVERSIONS = {
    "text": text_column,
    "integer": integer_column,
    "flag": integer_column,  # that it is 0 or 1 is checked where `clicks` is known, too
    "time": time_column,
    "bytes": bytes_column,
}


def validate(
    batch: RawBatch, *, times: bool = False, splits: bool = False
) -> tuple[pa.Table, list[Rejected]]:
    """Check a batch against the row contract.

    Args:
        batch: as a reader yields it.
        times: rows need a `timestamp` (split policy by_time); otherwise it is ignored.
        splits: read the `split` column (split policy given); otherwise it is ignored.

    Returns:
        The clean rows (contract.CLEAN_SCHEMA, and `session_id` and `image_bytes` if the batch has
        them) and the rejected ones, those that the reader rejected included. The first fault found
        in a row is its reason.
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
            checks.time() if times else pa.nulls(count, TIME),
            checks.text("language"),
            checks.label(),
            checks.text("label_text"),
            checks.text("image_uri"),
            pa.array(batch.rows),
        ],
        schema=contract.CLEAN_SCHEMA,
    )
    if "session_id" in batch.columns:
        table = table.append_column("session_id", checks.text("session_id"))
    images = checks.convert("image_bytes")
    if images is not None:
        table = table.append_column("image_bytes", images)
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

    def convert(self, name: str) -> pa.Array | None:
        """Return a column in its type, null where absent or faulty; None if there is none."""
        column = self.batch.columns.get(name)
        if column is None:
            return None
        kind = contract.COLUMN_TYPES[name]

        def fail(index: int, fault: ValueFault) -> None:
            reason = fault.reason or kind.reason
            self.fail(index, reason, f"{name} {fault.message}")

        return _CONVERSIONS[kind.name](column, fail)

    def text(self, name: str, missing: Reason | None = None) -> pa.Array:
        """Return a text column, trimmed; empty is null. With `missing`, null is a fault."""
        result = self.convert(name)
        if result is None:
            result = pa.nulls(self.count, pa.string())
        if missing is not None:
            self._require(result, missing, f"{name} is missing or empty")
        return result

    def _require(self, array: pa.Array, reason: Reason, message: str) -> None:
        if array.null_count:
            for index in np.flatnonzero(array.is_null().to_numpy(zero_copy_only=False)):
                self.fail(int(index), reason, message)

    def integers(self, name: str) -> tuple[Any, Any]:
        """Return a whole-number column: values int64[n] (0 where absent) and present bool[n]."""
        numbers = self.convert(name)
        if numbers is None:
            return np.zeros(self.count, np.int64), np.zeros(self.count, bool)
        present = ~numbers.is_null().to_numpy(zero_copy_only=False)
        return numbers.fill_null(0).to_numpy(zero_copy_only=False), present

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
            for index in np.flatnonzero(values > contract.MAX_COUNT):
                message = f"{name} is above {contract.MAX_COUNT:,}: {values[index]}"
                self.fail(int(index), Reason.BAD_NUMBER, message)
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
        values, present = self.integers("position")
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
        """Moments in UTC."""
        times = self.convert("timestamp")
        if times is None:
            times = pa.nulls(self.count, TIME)
        self._require(times, Reason.BAD_TIMESTAMP, "timestamp is missing")
        return times

    def rejected(self) -> list[Rejected]:
        """Return the faulty rows, with their content."""
        columns = {k: v for k, v in self.batch.columns.items() if k != "image_bytes"}
        result = []
        for index in sorted(self.bad):
            reason, message = self.bad[index]
            content = {name: value_at(array, index) for name, array in columns.items()}
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
