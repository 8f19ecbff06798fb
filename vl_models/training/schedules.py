"""Learning-rate schedules as plain functions of the update index."""

from __future__ import annotations

import math
from typing import Literal

import pydantic

from vl_models.strict_config import StrictConfig


class ScheduleConfig(StrictConfig):
    """Linear warm-up, then a decay to ``final_fraction`` of the peak at the stage's last step.

    ``decay: steps`` multiplies the rate by ``drop_factor`` at each of ``drops``, shares of the
    stage's steps, and knows no final fraction. The warm-up begins at ``warmup_fraction``.
    """

    decay: Literal["cosine", "linear", "constant", "steps"] = "cosine"
    warmup_steps: int = pydantic.Field(default=0, ge=0)
    warmup_fraction: float = pydantic.Field(default=0.0, ge=0.0, lt=1.0)
    final_fraction: float = pydantic.Field(default=0.0, ge=0.0, le=1.0)
    drops: tuple[float, ...] = ()
    drop_factor: float = pydantic.Field(default=0.1, gt=0.0, lt=1.0)

    @pydantic.model_validator(mode="after")
    def _drops_are_shares(self) -> ScheduleConfig:
        if (self.decay == "steps") != bool(self.drops):
            raise ValueError("drops belong to decay: steps, and that needs some")
        if list(self.drops) != sorted(self.drops) or not all(0 < x < 1 for x in self.drops):
            raise ValueError("drops are shares of the steps between 0 and 1, in ascending order")
        return self


def learning_rate_factor(schedule: ScheduleConfig, step: int, total_steps: int) -> float:
    """Factor on the peak learning rate for one update.

    Warm-up of W steps uses w + (1 - w)·(step + 1) / W, so that the first update is not lost and
    update W - 1 is the first at the peak. After it, with p = (step - W) / (total - W): cosine
    f + (1 - f)·(1 + cos πp)/2, linear 1 - (1 - f)·p, constant 1, and with steps the drop factor
    for each drop that is at step / total or before.

    Args:
        schedule: shape of the schedule.
        step: updates already made in this stage, from 0.
        total_steps: updates of the whole stage, warm-up included.

    Returns:
        A float in [0, 1].
    """
    warmup = schedule.warmup_steps
    if step < warmup:
        risen = (step + 1) / warmup
        return schedule.warmup_fraction + (1.0 - schedule.warmup_fraction) * risen
    if schedule.decay == "constant":
        return 1.0
    if schedule.decay == "steps":
        passed = sum(step >= drop * total_steps for drop in schedule.drops)
        return schedule.drop_factor**passed
    progress = min(1.0, (step - warmup) / max(1, total_steps - warmup))
    linear = schedule.decay == "linear"
    falling = 1.0 - progress if linear else (1.0 + math.cos(math.pi * progress)) / 2
    return schedule.final_fraction + (1.0 - schedule.final_fraction) * falling
