"""The same number of training images for every experiment, whatever its batch size."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from tfx_pipeline.config import ExperimentConfig
from vl_models.errors import UserError
from vl_models.training.config import OptimizerConfig, TrainConfig
from vl_models.training.schedules import ScheduleConfig

_LEAST_LOGGED_STEPS = 10  # for a median speed and a loss curve
# A warm-up is made no shorter than this, or than this share of very few steps: the learning rate
# stays what it was, and reached in a few steps it collapses the embeddings.
_LEAST_WARMUP_STEPS, _LEAST_WARMUP_SHARE = 30, 0.3


@dataclasses.dataclass(frozen=True)
class Budget:
    """How long one experiment trains; a step sees ``batch × accumulation`` images."""

    steps: int
    batch: int
    accumulation: int
    warmup_steps: int

    @property
    def samples(self) -> int:
        """Training images seen, over all steps."""
        return self.steps * self.batch * self.accumulation


def budget_of(config: ExperimentConfig) -> Budget:
    """Return the budget that an experiment gives itself.

    Raises:
        UserError: it counts in epochs, or its batch does not fit its devices.
    """
    train = config.train
    return Budget(
        steps=_total_steps(config),
        batch=train.global_batch(_replicas(config)),
        accumulation=train.accumulation_steps,
        warmup_steps=train.warmup_steps,
    )


def with_samples(config: ExperimentConfig, samples: int) -> ExperimentConfig:
    """Return the experiment, trained on (as nearly as its batch allows) ``samples`` images.

    Raises:
        UserError: it counts in epochs, or its batch does not fit its devices.
    """
    own = budget_of(config)
    per_step = own.batch * own.accumulation
    return with_steps(config, max(1, round(samples / per_step)))


def with_steps(config: ExperimentConfig, steps: int) -> ExperimentConfig:
    """Return the experiment with its stages, warm-ups and so its schedules stretched to ``steps``.

    A decay always ends at the last step. A warm-up is not shortened below 30 steps, or 30 % of the
    steps if these are fewer than 100: its length is what keeps the first updates from collapsing
    the embeddings. Logged are at least ten steps; how often that is has no influence on the
    training.

    Raises:
        UserError: it counts in epochs, or has more stages than ``steps``.
    """
    train = config.train
    factor = steps / _total_steps(config)
    lengths = [steps]
    if train.stages:
        lengths = _shares([stage.steps or 0 for stage in train.stages], steps, config.name)
    shortest = min(lengths)  # what the stages share warms up in each of them
    changes: dict[str, Any] = {
        "warmup_steps": _stretched(train.warmup_steps, factor, shortest),
        "optimizers": _stretch_optimizers(train.optimizers, factor, shortest),
        "log_every": min(train.log_every, max(1, steps // _LEAST_LOGGED_STEPS)),
    }
    if train.stages:
        changes["stages"] = tuple(
            stage.model_copy(
                update={
                    "steps": length,
                    "phases": tuple(
                        phase.model_copy(
                            update={
                                "optimizers": _stretch_optimizers(phase.optimizers, factor, length)
                            }
                        )
                        for phase in stage.phases
                    ),
                }
            )
            for stage, length in zip(train.stages, lengths)
        )
    else:
        changes["steps"] = steps
    stretched: TrainConfig = train.model_copy(update=changes)
    return config.model_copy(update={"train": stretched})


def _total_steps(config: ExperimentConfig) -> int:
    stages = config.train.resolved_stages()
    for stage in stages:
        if stage.steps is None:
            raise UserError(
                f"Experiment '{config.name}' counts in epochs, but a budget needs steps: the "
                "warm-up is stretched with them. Say how many steps it would train, for example "
                "--set train.steps=1000 --set train.epochs=null. "
                f"Received: epochs={stage.epochs} (stage '{stage.name}')."
            )
    return sum(stage.steps or 0 for stage in stages)


def _replicas(config: ExperimentConfig) -> int:
    """Number of replicas its strategy will have, without making one (it would take the GPUs)."""
    kind, _, count = config.devices.partition(":")
    if count:
        return int(count)
    if kind == "cpu" or config.train.batch_size_per_replica is None:
        return 1
    import tensorflow as tf

    return max(1, len(tf.config.list_physical_devices("GPU")))


def _stretched(warmup: int, factor: float, steps: int) -> int:
    """Return the warm-up of ``steps``; see `with_steps` for how short it may become."""
    least = min(warmup, _LEAST_WARMUP_STEPS, max(1, round(_LEAST_WARMUP_SHARE * steps)))
    return max(least, round(warmup * factor))


def _stretch_optimizers(
    optimizers: Sequence[OptimizerConfig], factor: float, steps: int
) -> tuple[OptimizerConfig, ...]:
    def stretch(schedule: ScheduleConfig | None) -> ScheduleConfig | None:
        if schedule is None:
            return None
        warmup = _stretched(schedule.warmup_steps, factor, steps)
        return schedule.model_copy(update={"warmup_steps": warmup})

    return tuple(
        optimizer.model_copy(update={"schedule": stretch(optimizer.schedule)})
        for optimizer in optimizers
    )


def _shares(parts: Sequence[int], total: int, name: str) -> list[int]:
    """``total`` divided like ``parts``, in whole numbers from 1."""
    if total < len(parts):
        raise UserError(
            f"Experiment '{name}' has {len(parts)} stages and needs as many steps. "
            f"Received: {total} steps."
        )
    whole = sum(parts)
    ends = [round(total * sum(parts[: index + 1]) / whole) for index in range(len(parts))]
    for index in range(len(ends)):  # every stage has a step, and leaves one to each later stage
        low = (ends[index - 1] if index else 0) + 1
        high = total - (len(ends) - 1 - index)
        ends[index] = min(max(ends[index], low), high)
    return [end - start for start, end in zip([0, *ends[:-1]], ends)]
