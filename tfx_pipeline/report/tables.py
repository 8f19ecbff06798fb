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
    interval, low_high = evaluation.intervals.get(key), ""
    if interval is not None and not math.isnan(interval.low):
        low_high = f"{_number(key, interval.low)} – {_number(key, interval.high)}"
    before = (evaluation.baseline or {}).get(key)
    if before is None:
        return Cell(key, _number(key, value), low_high)
    change = value - before
    signed = f"{'−' if change < 0 else '+'}{_number(key, abs(change))}"
    return Cell(key, _number(key, value), low_high, signed, _trend(key, change))


def _number(key: str, value: float) -> str:
    return f"{value:,.1f}" if MEDIAN_RANK in key else f"{value:.3f}"


def _trend(key: str, change: float) -> str:
    # A smaller gap alone does not make retrieval better (Liang et al. 2022, section 5).
    if change == 0 or key in (MODALITY_GAP, MODALITY_CLASSIFIER, MODALITY_SILHOUETTE):
        return "neutral"
    return "better" if (change < 0) == lower_is_better(key) else "worse"
