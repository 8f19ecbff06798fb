"""The comparison as tables of text: for the terminal, for CSV and for HTML."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from serving.files import write_atomically
from tfx_pipeline.comparison.quality import ComparedValue
from tfx_pipeline.comparison.run import Contestant
from tfx_pipeline.report.templates import load_template

CSV_FILE, HTML_FILE = "comparison.csv", "comparison.html"
_TEMPLATE = Path(__file__).with_name("comparison.html.j2")
_MILLION = 1_000_000


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What is shown.

    Attributes:
        contestants: in the order of the command line; the first is the reference.
        metrics: key → what was measured, one per contestant.
        confidence: of the intervals.
        splits: that were evaluated.
        data: the data folder.
    """

    contestants: Sequence[Contestant]
    metrics: Mapping[str, Sequence[ComparedValue]]
    confidence: float
    splits: Sequence[str]
    data: str


def quality_rows(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    """Headings and rows of the metrics; a cell's lines are value, interval, and difference."""
    rows = [
        [c.name, *(_cell(measured[i]) for measured in comparison.metrics.values())]
        for i, c in enumerate(comparison.contestants)
        if not c.error
    ]
    return ["experiment", *comparison.metrics], rows


def cost_rows(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    """Headings and rows of what the trainings cost; means over the seeds."""
    headings = [
        "experiment",
        "image tower M",
        "text tower M",
        "trainable M",
        "total M",
        "samples/s",
        "seconds",
        "peak MiB",
        "peak GPU MiB",
        "final losses",
    ]
    rows = []
    for c in comparison.contestants:
        if c.error:
            continue
        cost = _cost(c)
        numbers = [
            *(_number(cost[f"parameters_{name}_m"], ".2f") for name in _PARAMETERS),
            _number(cost["samples_per_second"], ",.0f"),
            _number(cost["seconds"], ",.0f"),
            _number(cost["peak_memory_mib"], ",.0f"),
            _number(cost["peak_gpu_memory_mib"], ",.0f"),
        ]
        rows.append([c.name, *numbers, cost["losses"]])
    if all(row[-2] == "–" for row in rows):
        headings.pop(-2)
        for row in rows:
            row.pop(-2)
    return headings, rows


def budget_rows(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    """Headings and rows of how each was trained, or why it was not."""
    headings = ["experiment", "system", "samples", "steps", "batch", "warm-up", "seeds", "outcome"]
    rows = []
    for c in comparison.contestants:
        batch = f"{c.budget.batch}"
        if c.budget.accumulation > 1:
            batch += f" × {c.budget.accumulation}"
        numbers = [f"{c.budget.samples:,}", f"{c.budget.steps:,}", batch]
        seeds = ", ".join(str(run.seed) for run in c.runs) or "–"
        rows.append([c.name, c.system, *numbers, f"{c.budget.warmup_steps:,}", seeds, _outcome(c)])
    return headings, rows


def _outcome(contestant: Contestant) -> str:
    """One line per seed that collapsed, if any did."""
    if contestant.error:
        return f"failed: {contestant.error}"
    collapsed = [run for run in contestant.runs if run.result.collapsed]
    if len(contestant.runs) == 1:
        return collapsed[0].result.collapsed if collapsed else "done"
    return "\n".join(f"seed {run.seed} {run.result.collapsed}" for run in collapsed) or "done"


def csv_text(comparison: Comparison) -> str:
    """One row per experiment, numbers unrounded; absent ones are empty."""
    rows = []
    for i, c in enumerate(comparison.contestants):
        row: dict[str, Any] = {
            "name": c.name,
            "system": c.system,
            "status": "failed" if c.error else "done",
            "error": c.error,
            "collapsed": any(run.result.collapsed for run in c.runs),
            "samples": c.budget.samples,
            "steps": c.budget.steps,
            "batch": c.budget.batch,
            "accumulation": c.budget.accumulation,
            "warmup_steps": c.budget.warmup_steps,
            "seeds": " ".join(str(run.seed) for run in c.runs),
            **_cost(c),
        }
        for key, measured in comparison.metrics.items():
            one = measured[i]
            row |= {
                key: one.value,
                f"{key}/low": one.interval and one.interval.low,
                f"{key}/high": one.interval and one.interval.high,
                f"{key}/seed_std": one.spread,
                f"{key}/difference": one.difference,
                f"{key}/difference_low": one.difference_interval and one.difference_interval.low,
                f"{key}/difference_high": one.difference_interval and one.difference_interval.high,
                f"{key}/verdict": one.verdict,
            }
        rows.append(row)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def html_text(comparison: Comparison) -> str:
    """Return a page that needs nothing beside itself."""
    verdicts = {
        (c.name, key): measured[i].verdict
        for i, c in enumerate(comparison.contestants)
        for key, measured in comparison.metrics.items()
    }
    return load_template(_TEMPLATE).render(
        comparison=comparison,
        reference=comparison.contestants[0].name,
        quality=quality_rows(comparison),
        cost=cost_rows(comparison),
        budget=budget_rows(comparison),
        verdicts=verdicts,
    )


def write_tables(comparison: Comparison, output: Path) -> None:
    """Write comparison.csv and comparison.html, each renamed into place."""
    output.mkdir(parents=True, exist_ok=True)
    write_atomically(output / CSV_FILE, csv_text(comparison))
    write_atomically(output / HTML_FILE, html_text(comparison))


_PARAMETERS = ("image_tower", "text_tower", "trainable", "total")


def _cost(contestant: Contestant) -> dict[str, Any]:
    """Parameters in millions, speed, time, memory and losses, as they go into the CSV."""
    results = [run.result for run in contestant.runs]

    def mean(values: Sequence[float | None]) -> float | None:
        known = [value for value in values if value is not None]
        return fmean(known) if known else None

    def largest(values: Sequence[float | None]) -> float | None:
        return max((value for value in values if value is not None), default=None)

    parameters = results[0].parameters if results else {}
    terms = list(results[0].losses) if results else []
    losses = {name: mean([r.losses.get(name) for r in results]) for name in terms}
    return {
        **{
            f"parameters_{name}_m": parameters[name] / _MILLION if name in parameters else None
            for name in _PARAMETERS
        },
        "samples_per_second": mean([r.samples_per_second for r in results]),
        "seconds": mean([r.seconds for r in results]),
        "peak_memory_mib": largest([r.peak_memory_mib for r in results]),
        "peak_gpu_memory_mib": largest([r.peak_gpu_memory_mib for r in results]),
        "losses": ", ".join(f"{name} {_number(value, '.3f')}" for name, value in losses.items()),
    }


def _cell(measured: ComparedValue) -> str:
    if measured.value is None:
        return "–"
    value = f"{measured.value:.3f}"
    if measured.spread is not None:
        value += f" ± {measured.spread:.3f}"
    lines = [value]
    if measured.interval is not None:
        lines.append(f"[{measured.interval.low:.3f}, {measured.interval.high:.3f}]")
    if measured.difference is not None:
        lines.append(f"{measured.difference:+.3f} {measured.verdict}")
    return "\n".join(lines)


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)
