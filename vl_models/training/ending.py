"""How a run ended: whether its losses are those of embeddings that are all equal."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

ENDING = "ending.json"

LAST_STEPS = 10  # over which a loss is averaged
_TOLERANCE = 0.01  # relative

REMEDY = "Train anew with a longer warm-up (train.warmup_steps) or a smaller train.learning_rate."


@dataclasses.dataclass(frozen=True)
class EndingLoss:
    """One loss at the end of a run.

    Attributes:
        loss: its mean over the last steps.
        equal_embeddings: what it would have been in the last one, had all embeddings been equal.
    """

    loss: float
    equal_embeddings: float

    @property
    def collapsed(self) -> bool:
        """Whether the two are within 1 % of each other; never where the loss could only be 0."""
        return abs(self.loss - self.equal_embeddings) <= _TOLERANCE * self.equal_embeddings > 0


@dataclasses.dataclass(frozen=True)
class Ending:
    """The losses at the end of a run for which the model knows the value of equal embeddings.

    Attributes:
        step: the last one.
        losses: by name.
    """

    step: int
    losses: Mapping[str, EndingLoss]

    @classmethod
    def of_steps(cls, step: int, results: Sequence[Mapping[str, float]]) -> Ending:
        """Average the last steps' losses; see `vl_models.training.step.Steps` for the results."""
        losses = {}
        names = {key for one in results for key in one if key.startswith("collapsed/")}
        for name in sorted(key.removeprefix("collapsed/") for key in names):
            keys = f"loss/{name}", f"collapsed/{name}"
            losses[name] = EndingLoss(
                *(fmean(one[key] for one in results if key in one) for key in keys)
            )
        return cls(step, losses)

    @classmethod
    def read(cls, run_dir: Path) -> Ending | None:
        """Return how the run in a folder ended; None if it has not."""
        path = run_dir / ENDING
        if not path.is_file():
            return None
        content = json.loads(path.read_text(encoding="utf-8"))
        losses = {
            name: EndingLoss(one["loss"], one["equal_embeddings"])
            for name, one in content["losses"].items()
        }
        return cls(content["step"], losses)

    def write(self, run_dir: Path) -> None:
        """Write ending.json, renamed into place."""
        losses = {
            name: {**dataclasses.asdict(one), "collapsed": one.collapsed}
            for name, one in self.losses.items()
        }
        content = {"step": self.step, "collapsed": self.collapsed, "losses": losses}
        temporary = run_dir / f".{ENDING}.tmp"
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        temporary.replace(run_dir / ENDING)

    @property
    def collapsed(self) -> bool:
        """Whether one of the losses is that of equal embeddings."""
        return any(one.collapsed for one in self.losses.values())

    def describe(self) -> str:
        """Say which losses are those of equal embeddings; empty if none is."""
        found = ", ".join(
            f"{name} {one.loss:.4g} (equal embeddings: {one.equal_embeddings:.4g})"
            for name, one in self.losses.items()
            if one.collapsed
        )
        return f"collapsed: {found}" if found else ""
