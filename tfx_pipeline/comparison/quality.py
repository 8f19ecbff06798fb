"""Metrics of several trainings, with intervals, and which differences are more than chance.

Per-query results allow a paired bootstrap: every resample draws the same queries for all, so
that what a query contributes to both sides of a difference does not count as noise. Several
seeds of one experiment are averaged per query.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tfx_pipeline.comparison.run import Contestant
from tfx_pipeline.evaluation.config import BootstrapConfig
from tfx_pipeline.evaluation.metric_keys import IMAGE_TO_TEXT, TEXT_TO_IMAGE, lower_is_better
from tfx_pipeline.trials.result import EVALUATION_DIR, read_json
from vl_models.metrics.bootstrap import Interval, percentile_interval, ratio_draws

DEFAULT_METRICS = ("recall@1", "recall@10", "mrr", "zero_shot/accuracy@1")
_BY_LANGUAGE = "recall@10"


@dataclasses.dataclass(frozen=True)
class ComparedValue:
    """One metric of one contestant.

    Attributes:
        value: mean over the seeds; None if undefined.
        interval: over queries; None where there are no per-query results.
        spread: standard deviation over the seeds; None with one.
        difference: to the first contestant; None for itself and where it cannot be paired.
        difference_interval: of the difference, by the paired bootstrap.
        verdict: "better" or "worse" if that interval excludes 0, else "within"; "" without one.
    """

    value: float | None = None
    interval: Interval | None = None
    spread: float | None = None
    difference: float | None = None
    difference_interval: Interval | None = None
    verdict: str = ""


def chosen_metrics(contestants: Sequence[Contestant], extra: Sequence[str]) -> list[str]:
    """Keys to show: the usual ones that were measured, by language, then those asked for."""
    measured = [key for c in contestants for run in c.runs for key in run.result.metrics]
    by_language = re.compile(rf"language=[^/]*/{_BY_LANGUAGE}")
    languages = sorted({key for key in measured if by_language.fullmatch(key)})
    usual = [key for key in (*DEFAULT_METRICS, *languages) if key in measured]
    return list(dict.fromkeys([*usual, *extra]))


def measure(
    contestants: Sequence[Contestant], key: str, bootstrap: BootstrapConfig
) -> list[ComparedValue]:
    """One metric of every contestant, against the first.

    Args:
        contestants: those that failed get no value.
        key: ``[slice=value/]metric[/direction]``.
        bootstrap: number of resamples, confidence and seed.
    """
    values = [[run.result.metrics.get(key) for run in c.runs] for c in contestants]
    found = [_without_queries(c, key, one) for c, one in zip(contestants, values)]
    whole = [index for index, one in enumerate(found) if one.value is not None]
    tables = [[_per_query(run.run, key) for run in contestants[i].runs] for i in whole]
    known = [
        (i, [table for table in one if table is not None])
        for i, one in zip(whole, tables)
        if all(table is not None for table in one)
    ]
    if not known:
        return found
    reference = known[0][1][0]
    comparable = [
        (i, one) for i, one in known if all(t["key"].equals(reference["key"]) for t in one)
    ]
    draws = ratio_draws(
        np.stack([sum(t["total"].to_numpy() for t in one) for _, one in comparable], axis=1),
        np.stack([sum(t["count"].to_numpy() for t in one) for _, one in comparable], axis=1),
        bootstrap.samples,
        bootstrap.seed,
    )
    for column, (i, _) in zip(draws.T, comparable):
        changes: dict[str, object] = {"interval": percentile_interval(column, bootstrap.confidence)}
        if i != 0 and comparable[0][0] == 0:
            interval = percentile_interval(column - draws[:, 0], bootstrap.confidence)
            changes |= {
                "difference": (found[i].value or 0.0) - (found[0].value or 0.0),
                "difference_interval": interval,
                "verdict": _verdict(key, interval),
            }
        found[i] = dataclasses.replace(found[i], **changes)  # type: ignore[arg-type]
    return found


def _without_queries(
    contestant: Contestant, key: str, values: Sequence[float | None]
) -> ComparedValue:
    """Value, and of a single seed the interval that its evaluation gave."""
    numbers = [value for value in values if value is not None]
    if contestant.error or not numbers or len(numbers) < len(values):
        return ComparedValue()
    interval = None
    if len(numbers) == 1:
        stored = read_json(contestant.runs[0].run / EVALUATION_DIR / "intervals.json")
        low, high = stored["intervals"].get(key, (None, None))
        interval = None if low is None or high is None else Interval(low, high)
    spread = float(np.std(numbers, ddof=1)) if len(numbers) > 1 else None
    return ComparedValue(float(np.mean(numbers)), interval, spread)


def _per_query(run: Path, key: str) -> pa.Table | None:
    """Columns key, total and count of one metric; None if it is not a mean over queries."""
    path = run / EVALUATION_DIR / "per_query.parquet"
    *parts, last = key.split("/")
    direction = last if last in (TEXT_TO_IMAGE, IMAGE_TO_TEXT) else TEXT_TO_IMAGE
    names = parts if last == direction else [*parts, last]
    slices = [name.partition("=") for name in names if "=" in name]
    name = "/".join(name for name in names if "=" not in name)
    columns = pq.read_schema(path).names
    wanted = [name, f"{name}/count", *(slice_name for slice_name, _, _ in slices)]
    if any(column not in columns for column in wanted):
        return None
    table = pq.read_table(path, columns=["direction", "key", *wanted])
    rows = pc.equal(table["direction"], direction)
    for slice_name, _, value in slices:
        rows = pc.and_(rows, pc.equal(table[slice_name], value))
    table = table.filter(rows)
    counts = pc.cast(table[f"{name}/count"], pa.float64())
    totals = pc.multiply(pc.fill_null(pc.cast(table[name], pa.float64()), 0.0), counts)
    return pa.table({"key": table["key"], "total": totals, "count": counts})


def _verdict(key: str, interval: Interval) -> str:
    if math.isnan(interval.low):
        return ""
    if interval.low <= 0 <= interval.high:
        return "within"
    return "better" if (interval.low > 0) != lower_is_better(key) else "worse"
