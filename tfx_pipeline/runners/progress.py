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

    @property
    def place(self) -> str:
        """Number and name, for the beginning of a line."""
        return f"[{self.number:>2}/{self.total}] {self.name:<20}"

    @property
    def outcome(self) -> str:
        """How long a finished step took, for the end of the line."""
        return "cached" if self.cached else f"{self.seconds:6.1f} s"
