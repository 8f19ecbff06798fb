"""Configuration of training: batch, stages, phases, optimisers, and how often things happen."""

from __future__ import annotations

from typing import Literal

import pydantic

from vl_models.choices import ResizeKind
from vl_models.errors import UserError
from vl_models.strict_config import StrictConfig
from vl_models.training.schedules import ScheduleConfig

# Of run folders and checkpoints: counts up when variables or settings get other names, so that
# what an earlier version began cannot go on.
RUN_FORMAT = 3

OptimizerKind = Literal["adamw", "adam", "sgd", "lamb"]

# Weight decay pulls towards zero; these have no reason to be small.
NO_DECAY = ("*bias", "*gamma", "*beta", "*/scale", "*temperature*", "*logit_scale*")


class OptimizerConfig(StrictConfig):
    """One optimiser and the variables that it owns.

    A variable belongs to the first optimiser whose patterns match its path. Decoupled weight
    decay (learning rate × decay × weight) for every kind; paths in ``no_decay`` are excluded.
    """

    name: str | None = None
    kind: OptimizerKind = "adamw"
    variables: tuple[str, ...] = ("*",)
    learning_rate: float = pydantic.Field(default=5e-4, gt=0)
    weight_decay: float = pydantic.Field(default=0.0, ge=0)
    no_decay: tuple[str, ...] = NO_DECAY
    momentum: float = pydantic.Field(default=0.9, ge=0, lt=1)
    betas: tuple[float, float] = (0.9, 0.98)
    epsilon: float = pydantic.Field(default=1e-6, gt=0)
    clip_norm: float | None = pydantic.Field(default=None, gt=0)
    schedule: ScheduleConfig | None = None


class PhaseConfig(StrictConfig):
    """What one kind of step optimises, which variables it may change, and from which data.

    ``losses`` gives each term's weight, or weights per variable pattern (the first that
    matches counts, none = 0): ``{"adversary": {"head/*": 1, "*": -1}}`` descends the term in
    the head and ascends it elsewhere, in one step. Without ``losses`` every term counts once.
    ``frozen`` are exceptions from ``variables``; their optimisers' slots stay as they are.
    ``optimizers``, if given, belong to this phase alone, with their own slots.
    """

    name: str = "all"
    losses: dict[str, float | dict[str, float]] | None = None
    variables: tuple[str, ...] = ("*",)
    frozen: tuple[str, ...] = ()
    optimizers: tuple[OptimizerConfig, ...] = ()
    repeats: int = pydantic.Field(default=1, ge=1)
    sources: tuple[str, ...] = ()


class WarmStartConfig(StrictConfig):
    """Weights to start from: another run, a checkpoint, or a safetensors file.

    ``map`` replaces prefixes of paths in the file, ``only`` restricts which variables are
    loaded, ``resize`` names positions whose length may differ: "grid" for square patch grids
    (leading class tokens kept), "sequence" for texts, "relative_grid" and "relative_sequence" for
    biases by relative position.
    """

    model_config = pydantic.ConfigDict(populate_by_name=True)

    source: str = pydantic.Field(alias="from")
    map: dict[str, str] = pydantic.Field(default_factory=dict)
    only: tuple[str, ...] = ("*",)
    resize: dict[str, ResizeKind] = pydantic.Field(default_factory=dict)

    @pydantic.field_validator("resize", mode="before")
    @classmethod
    def _grid_by_default(cls, value: object) -> object:
        return dict.fromkeys(value, "grid") if isinstance(value, list | tuple) else value


class StageConfig(StrictConfig):
    """Phases that alternate for a number of steps.

    ``per_step`` takes ``repeats`` steps of each phase in turn; ``per_sweep`` takes ``repeats``
    passes over the phase's data.
    """

    name: str = "train"
    steps: int | None = pydantic.Field(default=None, ge=1)
    epochs: float | None = pydantic.Field(default=None, gt=0)
    phases: tuple[PhaseConfig, ...] = pydantic.Field(default=(PhaseConfig(),), min_length=1)
    schedule: Literal["per_step", "per_sweep"] = "per_step"
    warm_start: WarmStartConfig | None = None

    @pydantic.model_validator(mode="after")
    def _unique_phases(self) -> StageConfig:
        _require_unique("phases", [phase.name for phase in self.phases])
        return self


class HookConfig(StrictConfig):
    """How often, in steps, a named hook (an evaluation, for example) runs."""

    name: str
    every: int = pydantic.Field(ge=1)


class KeepBestConfig(StrictConfig):
    """Which step's weights a training ends with, and when to stop looking for a better one.

    ``metric`` is a value that ``hook`` measures; the training stops early after ``patience``
    measurements that were no better (never without it).
    """

    hook: str = "validation"
    metric: str
    mode: Literal["max", "min"] = "max"
    patience: int | None = pydantic.Field(default=None, ge=1)


class TrainConfig(StrictConfig):
    """Everything about training that is neither the model nor the data.

    One step is one optimiser update: ``accumulation_steps`` forward passes of the global batch
    each. In the simple case the top-level ``optimizer``, ``learning_rate``, ``weight_decay``,
    ``betas``, ``warmup_steps``, ``decay``, ``frozen`` and ``steps`` (or ``epochs``) say it all;
    ``optimizers`` and ``stages`` replace them. ``learning_rate_factors`` gives variables, by
    patterns of their paths, a multiple of the learning rate. ``keep_best`` ends with the
    weights of the best step instead of the last. ``jit_compile`` compiles the step with XLA, on
    one device. ``deterministic`` makes every operation repeat itself to the bit, at a cost in
    speed.
    """

    seed: int = pydantic.Field(default=0, ge=0, lt=2**31)
    global_batch_size: int | None = pydantic.Field(default=None, ge=1)
    batch_size_per_replica: int | None = pydantic.Field(default=None, ge=1)
    accumulation_steps: int = pydantic.Field(default=1, ge=1)
    texts_per_image: int = pydantic.Field(default=1, ge=1)
    shuffle_buffer: int = pydantic.Field(default=8192, ge=1)

    steps: int | None = pydantic.Field(default=None, ge=1)
    epochs: float | None = pydantic.Field(default=None, gt=0)
    optimizer: OptimizerKind = "adamw"
    learning_rate: float = pydantic.Field(default=5e-4, gt=0)
    learning_rate_factors: dict[str, pydantic.PositiveFloat] = pydantic.Field(default_factory=dict)
    weight_decay: float = pydantic.Field(default=0.2, ge=0)
    betas: tuple[float, float] = (0.9, 0.98)
    warmup_steps: int = pydantic.Field(default=0, ge=0)
    decay: Literal["cosine", "linear", "constant"] = "cosine"
    optimizers: tuple[OptimizerConfig, ...] = ()
    stages: tuple[StageConfig, ...] = ()
    clip_norm: float | None = pydantic.Field(default=1.0, gt=0)
    frozen: tuple[str, ...] = ()
    warm_start: WarmStartConfig | None = None
    jit_compile: bool = False
    deterministic: bool = False

    log_every: int = pydantic.Field(default=50, ge=1)
    checkpoint_every: int = pydantic.Field(default=1000, ge=1)
    keep: int = pydantic.Field(default=2, ge=1)
    hooks: tuple[HookConfig, ...] = ()
    keep_best: KeepBestConfig | None = None

    @pydantic.model_validator(mode="after")
    def _best_is_measured(self) -> TrainConfig:
        names = [hook.name for hook in self.hooks]
        if self.keep_best is not None and self.keep_best.hook not in names:
            raise ValueError(
                f"keep_best needs the hook '{self.keep_best.hook}' among hooks: {names or 'none'}"
            )
        return self

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> TrainConfig:
        if self.global_batch_size and self.batch_size_per_replica:
            raise ValueError("give global_batch_size or batch_size_per_replica, not both")
        if self.optimizers and self.learning_rate_factors:
            raise ValueError("with optimizers, put learning_rate_factors into their learning rates")
        if self.stages:
            # Not model_fields_set: a complete configuration, read again, names every key.
            short = ("epochs", "steps", "warm_start")
            given = [name for name in short if getattr(self, name) is not None]
            if given:
                raise ValueError(f"with stages, put {', '.join(given)} into each stage")
            if self.frozen:
                raise ValueError("with stages, put frozen into their phases")
            _require_unique("stages", [stage.name for stage in self.stages])
        for stage in self.resolved_stages():
            if (stage.steps is None) == (stage.epochs is None):
                raise ValueError(f"stage '{stage.name}': give exactly one of steps and epochs")
        return self

    def global_batch(self, replicas: int) -> int:
        """Examples of one forward pass over all replicas; the one place that computes it.

        Raises:
            UserError: the replicas cannot share the batch evenly.
        """
        if self.batch_size_per_replica is not None:
            return self.batch_size_per_replica * replicas
        size = self.global_batch_size or 256
        if size % replicas:
            raise UserError(
                f"The global batch must divide evenly over {replicas} replicas. "
                f"Received: global_batch_size={size}."
            )
        return size

    def resolved_stages(self) -> tuple[StageConfig, ...]:
        """Return the stages, with the short form turned into the one stage that it means."""
        if self.stages:
            return self.stages
        return (
            StageConfig(
                steps=self.steps,
                epochs=self.epochs,
                warm_start=self.warm_start,
                phases=(PhaseConfig(frozen=self.frozen),),
            ),
        )

    def resolved_optimizers(self) -> tuple[OptimizerConfig, ...]:
        """Return the shared optimisers, with the short form turned into those that it means."""
        if self.optimizers:
            return self.optimizers
        rest = OptimizerConfig(
            name=self.optimizer,
            kind=self.optimizer,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            betas=self.betas,
        )
        factors = self.learning_rate_factors
        special = (
            {"name": None, "variables": (pattern,), "learning_rate": self.learning_rate * factor}
            for pattern, factor in factors.items()
        )
        return (*(rest.model_copy(update=values) for values in special), rest)

    def default_schedule(self) -> ScheduleConfig:
        """Return the schedule of every optimiser that has none of its own."""
        return ScheduleConfig(decay=self.decay, warmup_steps=self.warmup_steps)


def _require_unique(what: str, names: list[str]) -> None:
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(f"names of {what} must differ; repeated: {', '.join(repeated)}")
