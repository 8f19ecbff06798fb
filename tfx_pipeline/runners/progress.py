"""How a runner tells of its progress."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class StepReport:
    """Progress of one step: its place in the run, and when finished, how it went."""

    name: str
    number: int
    total: int
    seconds: float | None = None  # None: it starts now
    cached: bool = False
