"""Numbers of an evaluation as the report shows them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tfx_pipeline.evaluation.metric_keys import (
    MEDIAN_RANK,
    MODALITY_CLASSIFIER,
    MODALITY_GAP,
    MODALITY_SILHOUETTE,
    lower_is_better,
)
from tfx_pipeline.evaluation.result import EvaluationResult


@dataclass(frozen=True)
class Cell:
    """A metric as text.

    Attributes:
      key: of the metric.
      value: its value, "–" where not defined.
      interval: "low – high" or "".
      change: signed difference against the current release or "".
      trend: "better", "worse", "neutral" or "" without a baseline.
    """

    key: str
    value: str
    interval: str = ""
    change: str = ""
    trend: str = ""


def cell(evaluation: EvaluationResult, key: str) -> Cell:
    """The metric ``key`` with its interval and its difference against the current release."""
    value = evaluation.metrics.get(key, math.nan)
    if math.isnan(value):
        return Cell(key, "–")
    interval = evaluation.intervals.get(key)
    has_interval = interval is not None and not math.isnan(interval.low)
    before = (evaluation.baseline or {}).get(key)
    change = None if before is None else value - before
    return Cell(
        key=key,
        value=_number(key, value),
        interval=_range(key, *interval) if has_interval and interval else "",
        change="" if change is None else _signed(key, change),
        trend="" if change is None else _trend(key, change),
    )


def _number(key: str, value: float) -> str:
    return f"{value:,.1f}" if MEDIAN_RANK in key else f"{value:.3f}"


def _range(key: str, low: float, high: float) -> str:
    return f"{_number(key, low)} – {_number(key, high)}"


def _signed(key: str, change: float) -> str:
    sign = "−" if change < 0 else "+"
    return f"{sign}{_number(key, abs(change))}"


def _trend(key: str, change: float) -> str:
    # A smaller gap alone does not make retrieval better (Liang et al. 2022, section 5).
    if change == 0 or key in (MODALITY_GAP, MODALITY_CLASSIFIER, MODALITY_SILHOUETTE):
        return "neutral"
    return "better" if (change < 0) == lower_is_better(key) else "worse"
