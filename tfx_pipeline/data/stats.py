"""Counts of a run: merged over workers, written as summary.json, judged at the end."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any

from tfx_pipeline.data.contract import Rejected
from vl_models.errors import UserError
from vl_models.features import SPLITS

Stats = dict[str, Any]
_EXAMPLES = 3


def new_stats() -> Stats:
    """Stats of nothing."""
    return {
        "rows": 0,
        "log": {"read": 0, "accepted": 0, "rejected": 0},  # rows, before images are looked at
        "counters": {},  # name → count
        "rejected": {},  # reason → rows
        "examples": {},  # reason → (source, row, message) of the first one
        "found": {},  # counter → the first few examples of what it counts
        "unknown_columns": {},  # column → first file that has it
        "days": {},  # day since 1970-01-01 → rows; only under by_time with fractions
        "fatal": [],  # why the input cannot be read
        "propensities": None,
    }


def count(stats: Stats, name: str, by: int) -> None:
    """Add to a counter, in the stats and in Beam's metrics."""
    from apache_beam.metrics import Metrics

    stats["counters"][name] = stats["counters"].get(name, 0) + by
    Metrics.counter("vlsearch", name).inc(by)


def count_rows(stats: Stats, file: str, read: int, accepted: int, rejected: int) -> None:
    """Count rows of a log file.

    Raises:
        UserError: what was accepted and rejected is not what was read.
    """
    if read != accepted + rejected:
        raise UserError(
            f"{file}: {read:,} rows were read, but {accepted:,} accepted and {rejected:,} "
            "rejected. This is a defect of vlsearch: report it with the form of the file."
        )
    stats["rows"] += read
    count(stats, "rows", read)
    for name, rows in (("read", read), ("accepted", accepted), ("rejected", rejected)):
        stats["log"][name] += rows


def note(stats: Stats, name: str, examples: Iterable[str]) -> None:
    """Keep the first few examples of what a counter counts."""
    kept = sorted({*stats["found"].get(name, ()), *examples})[:_EXAMPLES]
    if kept:
        stats["found"][name] = kept


def reject(stats: Stats, rejected: Rejected) -> None:
    """Count a rejected row, or a rejected image with its rows."""
    from apache_beam.metrics import Metrics

    reason = str(rejected.reason)
    stats["rejected"][reason] = stats["rejected"].get(reason, 0) + rejected.rows
    example = (rejected.source, rejected.row, rejected.message)
    stats["examples"][reason] = min(stats["examples"].get(reason, example), example)
    Metrics.counter("vlsearch", f"rejected_{reason}").inc(rejected.rows)


def merge_stats(several: Iterable[Stats]) -> Stats:
    """Return the stats of all; associative and independent of order."""
    total = new_stats()
    for stats in several:
        total["rows"] += stats["rows"]
        for name in ("log", "counters", "rejected", "days"):
            for key, value in stats[name].items():
                total[name][key] = total[name].get(key, 0) + value
        for name in ("examples", "unknown_columns"):
            for key, value in stats[name].items():
                total[name][key] = min(total[name].get(key, value), value)
        for name, examples in stats["found"].items():
            note(total, name, examples)
        total["fatal"] = sorted({*total["fatal"], *stats["fatal"]})
        total["propensities"] = total["propensities"] or stats["propensities"]
    return total


def judge(stats: Stats, max_rejected_fraction: float) -> None:
    """Fail a run whose input could not be read, was rejected too often, or trains nothing.

    Raises:
        UserError: with the files, or with the commonest reasons, their counts and an example.
    """
    if stats["fatal"]:
        raise UserError("\n".join(stats["fatal"]))
    if not stats["rows"]:
        raise UserError("The click log is empty: its files hold no rows.")
    rejected = sum(stats["rejected"].values())
    if rejected > max_rejected_fraction * stats["rows"]:
        raise UserError(_too_many(stats, rejected, max_rejected_fraction))
    if not stats["counters"].get("pairs"):
        raise UserError(
            f"The click log has {stats['rows']:,} rows, but no accepted row with a click that "
            "belongs to a split. Check the columns clicked or clicks, and split."
        )
    require_splits(stats, ["train"])
    if stats["unknown_columns"]:
        names = ", ".join(f"{name} ({file})" for name, file in stats["unknown_columns"].items())
        logging.getLogger(__name__).warning("Columns ignored, unknown to the contract: %s", names)


def require_splits(stats: Stats, required: Sequence[str]) -> None:
    """Fail if a split is empty that training or evaluation needs.

    Raises:
        UserError: names the split, with the pairs of each.
    """
    pairs, counts = _pairs_by_split(stats)
    for split in required:
        if not pairs[split]:
            raise UserError(
                f"The {split} split is empty; pairs by split: {counts}. Bring more rows, or change "
                "`splits` in data.yaml: its policy, fractions, seed or times, or the split column."
                + ("" if split == "train" else " Or evaluate another split: evaluate.splits.")
            )


def _pairs_by_split(stats: Stats) -> tuple[dict[str, int], str]:
    """Numbers of pairs, and as text."""
    pairs = {split: stats["counters"].get(f"pairs_{split}", 0) for split in SPLITS}
    return pairs, ", ".join(f"{split} {number:,}" for split, number in pairs.items())


def _too_many(stats: Stats, rejected: int, bound: float) -> str:
    common = sorted(stats["rejected"].items(), key=lambda item: (-item[1], item[0]))[:3]
    reasons = "; ".join(
        f"{reason}: {rows:,} rows, e.g. {_place(stats['examples'][reason])}"
        for reason, rows in common
    )
    return (
        f"{rejected:,} of {stats['rows']:,} rows ({rejected / stats['rows']:.1%}) were rejected, "
        f"more than max_rejected_fraction={bound:g} allows. {reasons}. Correct the input, or "
        "raise max_rejected_fraction if these rows may be lost."
    )


def _place(example: tuple[str, int, str]) -> str:
    source, row, message = example
    return f"{source}{f', row {row}' if row else ''} ({message})"
