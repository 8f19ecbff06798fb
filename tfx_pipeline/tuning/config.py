"""Section `tune` of an experiment: what is searched, by which oracle, for how long."""

from __future__ import annotations

from typing import Any, Literal

import pydantic

from vl_models.strict_config import StrictConfig

# Below, fields have the names that the types have.
_Float = float
_Int = int


class Dimension(StrictConfig):
    """Values of one key: a range of ``float``, a range of ``int``, or a ``choice``.

    Both ends of a range belong to it. ``scale: log`` draws its logarithm evenly; ``step`` is
    the distance of neighbouring values (the factor between them, with ``scale: log``).
    """

    float: tuple[_Float, _Float] | None = None
    int: tuple[_Int, _Int] | None = None
    choice: list[Any] | None = pydantic.Field(default=None, min_length=2)
    scale: Literal["linear", "log"] = "linear"
    step: _Float | None = pydantic.Field(default=None, gt=0)

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> Dimension:
        if sum(one is not None for one in (self.float, self.int, self.choice)) != 1:
            raise ValueError("give one of float: [low, high], int: [low, high], choice: [...]")
        if self.choice is not None:
            if self.scale != "linear" or self.step is not None:
                raise ValueError("scale and step belong to float and int, not to choice")
            if any(value in self.choice[:index] for index, value in enumerate(self.choice)):
                raise ValueError("a choice names each value once")
            return self
        low, high = self.range
        if low >= high:
            raise ValueError(f"a range goes from the lower to the higher end, not {low} to {high}")
        if self.scale == "log" and low <= 0:
            raise ValueError(f"scale: log needs a lower end above 0, not {low}")
        if self.scale == "log" and self.step is not None and self.step <= 1:
            raise ValueError(f"with scale: log, step is a factor above 1, not {self.step}")
        if self.int is not None and self.step is not None and self.step != round(self.step):
            raise ValueError(f"int needs a whole step, not {self.step}")
        return self

    @property
    def range(self) -> tuple[_Float, _Float]:
        """Both ends; of a choice there are none."""
        ends = self.float if self.float is not None else self.int
        assert ends is not None, "a choice has no range"
        return ends

    @property
    def extremes(self) -> list[Any]:
        """Both ends, or every value of a choice."""
        return list(self.range) if self.choice is None else self.choice


class TuneConfig(StrictConfig):
    """A search: every trial trains the experiment with other values of the keys in ``space``."""

    enabled: bool = False  # also as a step of the pipeline, before the Trainer
    oracle: Literal["bayesian", "random", "hyperband", "grid"] = "bayesian"
    trials: pydantic.PositiveInt | None = None  # 20; grid: all; hyperband counts its own
    objective: str = "recall@10"
    direction: Literal["max", "min"] = "max"
    split: Literal["train", "val"] = "val"  # never test: that is for what is found
    steps: pydantic.PositiveInt | None = None  # of a trial; the experiment's own by default
    seed: pydantic.NonNegativeInt = 0  # of the oracle
    space: dict[str, Dimension] = pydantic.Field(min_length=1)

    @pydantic.model_validator(mode="after")
    def _hyperband_counts(self) -> TuneConfig:
        if self.oracle == "hyperband" and self.trials is not None:
            raise ValueError(
                "hyperband makes as many trials as its brackets need; leave trials out"
            )
        return self
