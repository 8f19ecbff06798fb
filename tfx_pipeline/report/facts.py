"""What the report says about the run and its data, beside the evaluation itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class ReportFacts:
    """Facts shown as they are given.

    Attributes:
        title: headline of the report.
        run: name → value, such as version, experiment, date, training time.
        data: name → value, such as examples per split, data span.
        rejected: reason → number of rejected rows of the click log.
    """

    title: str = "Evaluation report"
    run: Mapping[str, str | int | float] = field(default_factory=dict)
    data: Mapping[str, str | int | float] = field(default_factory=dict)
    rejected: Mapping[str, int] = field(default_factory=dict)
