"""Numbers of an evaluation as the rows that the report's template shows."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

from tfx_pipeline.evaluation.config import EvaluationConfig
from tfx_pipeline.evaluation.metric_keys import (
    IMAGE_TO_TEXT,
    KNN_ACCURACY,
    MEAN,
    MEDIAN_RANK,
    MODALITY_CLASSIFIER,
    MODALITY_GAP,
    MODALITY_SILHOUETTE,
    TEXT_TO_IMAGE,
    ZERO_SHOT,
    lower_is_better,
    measure_names,
    with_direction,
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
    value = evaluation.metrics[key]
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


def headline_names(config: EvaluationConfig) -> list[str]:
    """Measures that fit on a line, without direction."""
    return [*(f"recall@{k}" for k in config.ks), "mrr", f"ndcg@{config.ks[-1]}", MEDIAN_RANK]


def headline(evaluation: EvaluationResult) -> list[Cell]:
    """The metrics one looks at first, in the first direction of the evaluation."""
    direction = evaluation.config.directions[0]
    names = headline_names(evaluation.config)
    keys = [
        *(with_direction(name, direction) for name in names),
        *(key for key in evaluation.metrics if key.startswith("map@") and key.endswith(MEAN)),
        MODALITY_GAP,
        MODALITY_CLASSIFIER,
        MODALITY_SILHOUETTE,
        f"{ZERO_SHOT}/accuracy@1",
        KNN_ACCURACY,
    ]
    if not evaluation.precision_curves:  # of clicks, where mAP is one measure of many
        keys = [key for key in keys if not key.startswith("map@")]
    return [cell(evaluation, key) for key in keys if key in evaluation.metrics]


def direction_rows(evaluation: EvaluationResult) -> tuple[list[str], list[tuple[str, list[Cell]]]]:
    """Column names and one row per measure: every direction and, of two, their mean.

    No rows for a system without texts.
    """
    if MODALITY_GAP not in evaluation.metrics:
        return [], []
    if evaluation.precision_curves:
        return _class_rows(evaluation)
    columns = list(evaluation.config.directions)
    if len(columns) > 1:
        columns.append(MEAN)  # type: ignore[arg-type]
    rows = [
        (name, [cell(evaluation, with_direction(name, column)) for column in columns])
        for name in measure_names(evaluation.config)
    ]
    return [column.replace("_", " ") for column in columns], rows


def _class_rows(evaluation: EvaluationResult) -> tuple[list[str], list[tuple[str, list[Cell]]]]:
    """As `direction_rows`, of an evaluation by class."""
    columns = (IMAGE_TO_TEXT, TEXT_TO_IMAGE, MEAN)
    ending = f"/{MEAN}"
    names = [key.removesuffix(ending) for key in evaluation.metrics if key.endswith(ending)]
    rows = [(name, [cell(evaluation, f"{name}/{column}") for column in columns]) for name in names]
    return [column.replace("_", " ") for column in columns], rows


def slice_tables(
    evaluation: EvaluationResult,
) -> list[tuple[str, list[tuple[str, int, list[Cell]]]]]:
    """Per slice: (name, rows of (value, number of queries, cells of the headline measures))."""
    if TEXT_TO_IMAGE not in evaluation.config.directions:
        return []
    table = evaluation.per_query.to_pydict()
    if TEXT_TO_IMAGE not in table["direction"]:
        return []
    is_text = [direction == TEXT_TO_IMAGE for direction in table["direction"]]
    names = headline_names(evaluation.config)
    tables = []
    # A slice that the relevance file does not know has no column.
    for slice_name in filter(table.__contains__, evaluation.config.slices):
        sizes = Counter(value for value, keep in zip(table[slice_name], is_text) if keep)
        rows = [
            (value, size, [cell(evaluation, f"{slice_name}={value}/{name}") for name in names])
            for value, size in sorted(sizes.items())
        ]
        tables.append((slice_name.replace("_", " "), rows))
    return tables


def zero_shot_rows(evaluation: EvaluationResult) -> tuple[list[str], list[tuple[str, list[Cell]]]]:
    """Column names and rows: the exported classifier, then the classes under each prefix."""
    start = f"{ZERO_SHOT}/"
    names = [key for key in evaluation.metrics if key.startswith(start)]
    parts = dict.fromkeys(key.partition("/")[0] for key in evaluation.metrics if f"/{start}" in key)
    rows = [("exported classifier", names)] if names else []
    rows += [(part, [f"{part}/{name}" for name in names]) for part in parts]
    columns = [name.removeprefix(start).replace("/", ", ").replace("_", " ") for name in names]
    return columns, [(title, [cell(evaluation, key) for key in keys]) for title, keys in rows]


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
