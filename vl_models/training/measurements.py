"""Results and times of the steps since the last report."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vl_models.training.ending import LAST_STEPS, Ending
from vl_models.training.logging import check_finite


class Measurements:
    """Results of steps, not yet read from the device: reading waits for it to finish."""

    def __init__(self) -> None:
        self.waited = 0.0  # seconds that the loop waited for input
        self._steps: list[tuple[int, str, list[dict[str, Any]]]] = []
        self._last: deque[dict[str, float]] = deque(maxlen=LAST_STEPS)  # read already
        self._clock = time.perf_counter()

    def add(self, step: int, phase: str, passes: list[dict[str, Any]]) -> None:
        """Keep the results of a step's forward passes."""
        self._steps.append((step, phase, passes))

    def restart_clock(self) -> None:
        """Start timing again: checkpoints and hooks are not part of a step."""
        self._clock = time.perf_counter()
        self.waited = 0.0

    def drain(self, samples: int) -> tuple[dict[str, float], dict[str, float], str]:
        """Check every step since the last report.

        Args:
            samples: rows per step.

        Returns:
            Values of the newest step, times per step, and the newest step's phase.

        Raises:
            TrainingDiverged: a value of one of the steps is not finite.
        """
        values: dict[str, float] = {}
        for step, _, passes in self._steps:
            values = _mean_of_passes(passes)
            check_finite(step, values)
            self._last.append(values)
        elapsed = time.perf_counter() - self._clock
        count = len(self._steps)
        timing = {
            "data_seconds": self.waited / count,
            "step_seconds": elapsed / count,
            "samples_per_second": samples * count / elapsed,
            "input_wait_share": self.waited / elapsed,
        }
        phase = self._steps[-1][1]
        self._steps.clear()
        logged = {key: value for key, value in values.items() if not key.startswith("collapsed/")}
        return logged, timing, phase

    def forget_last(self) -> None:
        """Leave what was measured so far out of `ending`: another stage has other losses."""
        self._last.clear()

    def ending(self, step: int) -> Ending | None:
        """Return how a run that ends at ``step`` ends; None if no step of it was made here."""
        return Ending.of_steps(step, self._last) if self._last else None


def _mean_of_passes(passes: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Losses averaged over a step's forward passes; the rest is the last pass's."""
    values = {key: float(np.asarray(value)) for key, value in passes[-1].items() if key != "stop"}
    for key in values:
        if key.startswith("loss/"):
            values[key] = float(np.mean([np.asarray(one[key]) for one in passes]))
    return values
