"""May this release be pushed? Thresholds on its metrics, absolute and against the current one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tfx_pipeline.evaluation.config import EvaluationConfig, Threshold
from tfx_pipeline.evaluation.metric_keys import check_threshold_keys, lower_is_better

# 0.50 - 0.49 is above 0.01 in floating point.
_SLACK = 1e-9


@dataclass(frozen=True)
class Check:
    """One rule applied to one metric."""

    metric: str
    rule: str
    passed: bool
    message: str


@dataclass(frozen=True)
class Blessing:
    """The decision.

    Attributes:
        blessed: whether every check passed.
        reasons: sentences for people: what failed, or that everything passed.
        checks: every rule with its outcome.
    """

    blessed: bool
    reasons: tuple[str, ...]
    checks: tuple[Check, ...]

    def to_json(self) -> dict[str, Any]:
        """Content of blessing.json."""
        return {
            "blessed": self.blessed,
            "reasons": list(self.reasons),
            "checks": [vars(check) for check in self.checks],
        }


def bless(
    metrics: Mapping[str, float],
    config: EvaluationConfig,
    baseline: Mapping[str, float | None] | None = None,
) -> Blessing:
    """Apply the configured thresholds.

    Args:
        metrics: of the candidate; an undefined value is NaN and fails.
        config: its ``thresholds`` are applied.
        baseline: metrics of the current release; None if there is none, and then only the
            absolute thresholds count.

    Raises:
        UserError: a threshold on a metric that does not exist.
    """
    check_threshold_keys(config, metrics)
    checks: list[Check] = []
    for key, threshold in config.thresholds.items():
        checks.extend(_checks(key, metrics[key], threshold, baseline))
    failed = [check.message for check in checks if not check.passed]
    if failed:
        reasons = failed
    elif checks:
        reasons = [f"All {len(checks)} checks passed." if len(checks) > 1 else "The check passed."]
    else:
        reasons = ["Nothing was checked: no threshold applies."]
    if baseline is None:
        reasons.append("There is no current release: only absolute thresholds were checked.")
    return Blessing(not failed, tuple(reasons), tuple(checks))


def _checks(
    key: str,
    value: float,
    threshold: Threshold,
    baseline: Mapping[str, float | None] | None,
) -> list[Check]:
    if math.isnan(value):
        return [Check(key, "defined", False, f"{key} is not defined on this data.")]
    checks = []
    if threshold.min is not None:
        passed = value >= threshold.min - _SLACK
        relation = "at least" if passed else "below"
        message = f"{key} is {value:.4f}, {relation} the minimum of {threshold.min:.4f}."
        checks.append(Check(key, "min", passed, message))
    if threshold.max is not None:
        passed = value <= threshold.max + _SLACK
        relation = "at most" if passed else "above"
        message = f"{key} is {value:.4f}, {relation} the maximum of {threshold.max:.4f}."
        checks.append(Check(key, "max", passed, message))
    if threshold.max_drop_vs_baseline is not None and baseline is not None:
        checks.append(_baseline_check(key, value, threshold.max_drop_vs_baseline, baseline))
    return checks


def _baseline_check(
    key: str, value: float, allowed: float, baseline: Mapping[str, float | None]
) -> Check:
    rule = "max_drop_vs_baseline"
    before = baseline.get(key)
    if before is None or math.isnan(before):
        message = f"{key} was not compared: the current release has no value for it."
        return Check(key, rule, True, message)
    lower = lower_is_better(key)
    worsening = value - before if lower else before - value
    passed = worsening <= allowed + _SLACK
    change = f"{'rose' if value > before else 'fell'} by {abs(value - before):.4f}"
    if value == before:
        change = "is unchanged"
    message = (
        f"{key} {change} against the current release ({before:.4f} to {value:.4f}); "
        f"a {'rise' if lower else 'drop'} of {allowed:.4f} is allowed."
    )
    return Check(key, rule, passed, message)
