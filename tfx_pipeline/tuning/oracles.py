"""KerasTuner's oracles, made so that a search survives being killed at any moment."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import keras_tuner

from tfx_pipeline.tuning.config import TuneConfig
from tfx_pipeline.tuning.space import to_hyperparameters

# Hyperband's unit of training is 1/9 of a trial's steps: brackets of 1, 3 and 9 units.
HYPERBAND_UNITS, _HYPERBAND_FACTOR = 9, 3
_DEFAULT_TRIALS = 20


class _AtomicState:
    """State files are renamed into place: KerasTuner writes them where they are read."""

    def save(self) -> None:
        """Save the oracle's own state."""
        target = self._get_oracle_fname()  # type: ignore[attr-defined]
        super(keras_tuner.Oracle, self).save(f"{target}.tmp")  # type: ignore[misc]
        os.replace(f"{target}.tmp", target)  # noqa: PTH105

    def _save_trial(self, trial: Any) -> None:
        target = Path(self._get_trial_dir(trial.trial_id), "trial.json")  # type: ignore[attr-defined]
        temporary = target.with_suffix(".tmp")
        trial.save(str(temporary))
        temporary.replace(target)


class _Bayesian(_AtomicState, keras_tuner.oracles.BayesianOptimizationOracle):
    pass


class _Random(_AtomicState, keras_tuner.oracles.RandomSearchOracle):
    pass


class _Hyperband(_AtomicState, keras_tuner.oracles.HyperbandOracle):
    pass


class _Grid(_AtomicState, keras_tuner.oracles.GridSearchOracle):
    pass


def make_oracle(tune: TuneConfig) -> keras_tuner.Oracle:
    """Return the oracle of a search; it says nothing on the terminal."""
    options: dict[str, Any] = {
        "objective": keras_tuner.Objective(tune.objective, tune.direction),
        "hyperparameters": to_hyperparameters(tune.space),
        "allow_new_entries": False,
        "tune_new_entries": False,
        "seed": tune.seed + 1,  # KerasTuner takes 0 for "any"
    }
    oracle: keras_tuner.Oracle
    if tune.oracle == "hyperband":
        oracle = _Hyperband(max_epochs=HYPERBAND_UNITS, factor=_HYPERBAND_FACTOR, **options)
    elif tune.oracle == "grid":
        oracle = _Grid(max_trials=tune.trials, **options)
    elif tune.oracle == "random":
        oracle = _Random(max_trials=tune.trials or _DEFAULT_TRIALS, **options)
    else:
        oracle = _Bayesian(max_trials=tune.trials or _DEFAULT_TRIALS, **options)
    oracle.verbose = 0
    return oracle


def trial_steps(full: int, values: dict[str, Any]) -> int:
    """Steps of a trial: all of them, or the share that Hyperband gives it.

    A trial of a later round starts anew, so that its decay ends with its last step.
    """
    units = values.get("tuner/epochs", HYPERBAND_UNITS)
    return max(1, math.ceil(full * units / HYPERBAND_UNITS))
