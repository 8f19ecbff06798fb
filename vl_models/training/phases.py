"""Which stage and phase a step belongs to: pure functions of the step, so resuming is exact."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vl_models.training.config import PhaseConfig, StageConfig


@dataclass(frozen=True)
class StagePlan:
    """A stage with its steps counted out."""

    config: StageConfig
    first_step: int
    steps: int
    phase_lengths: tuple[int, ...]  # steps of each phase in one turn

    def phase_at(self, step: int) -> int:
        """Index of the phase of a global step of this stage."""
        place = (step - self.first_step) % sum(self.phase_lengths)
        for index, length in enumerate(self.phase_lengths):
            if place < length:
                return index
            place -= length
        raise AssertionError("unreachable: place is below the sum of lengths")


def plan_stages(
    stages: Sequence[StageConfig], steps_per_epoch: Callable[[Sequence[str]], int]
) -> list[StagePlan]:
    """Count out every stage.

    Args:
        stages: in order.
        steps_per_epoch: updates in one pass over the named sources (all, if none is named);
            called only where a stage counts in epochs or sweeps.

    Returns:
        One plan per stage; an epoch of a stage with phases is one pass over all sources.
    """
    plans: list[StagePlan] = []
    first = 0
    for stage in stages:
        steps = stage.steps
        if steps is None:
            steps = max(1, round((stage.epochs or 0) * steps_per_epoch(())))
        lengths = tuple(_phase_length(stage, phase, steps_per_epoch) for phase in stage.phases)
        plans.append(StagePlan(stage, first, steps, lengths))
        first += steps
    return plans


def _phase_length(
    stage: StageConfig, phase: PhaseConfig, steps_per_epoch: Callable[[Sequence[str]], int]
) -> int:
    if stage.schedule == "per_step":
        return phase.repeats
    return phase.repeats * max(1, steps_per_epoch(phase.sources))
