"""The tuner: asks the oracle for values, trains the experiment with them, tells the oracle.

`vlsearch tune` and the pipeline's Tuner component differ in how a trial is trained only.
"""

from __future__ import annotations

import difflib
import logging
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras_tuner
from keras_tuner import errors
from keras_tuner.engine import base_tuner

from tfx_pipeline.comparison.budget import budget_of, with_steps
from tfx_pipeline.config import ExperimentConfig
from tfx_pipeline.evaluation.config import EvaluationConfig
from tfx_pipeline.trials.process import TrialFailed
from tfx_pipeline.tuning.oracles import make_oracle, trial_steps
from tfx_pipeline.tuning.space import from_values
from vl_models.errors import UserError

# Trains and evaluates the experiment of one trial: (experiment, trial id) → metrics.
RunTrial = Callable[[ExperimentConfig, str], Mapping[str, float | None]]

_ORACLE_DIR = "oracle"


class ExperimentTuner(base_tuner.BaseTuner):
    """A KerasTuner tuner whose trials train an experiment; its state is in ``directory``.

    A search that was killed goes on where it was when another tuner is made in the same
    directory; the trial that was interrupted is the first to run again.

    Args:
        config: the experiment, with its section `tune`.
        directory: gets `oracle/`.
        run: trains and evaluates one trial.
        on_trial: called after each trial.
    """

    def __init__(
        self,
        config: ExperimentConfig,
        directory: Path,
        run: RunTrial,
        on_trial: Callable[[keras_tuner.engine.trial.Trial], None] = lambda trial: None,
    ):
        assert config.tune is not None, "the section `tune` says what to search"
        self.experiment = config
        self.tune = config.tune
        self._run = run
        self._on_trial = on_trial
        super().__init__(
            oracle=make_oracle(self.tune), directory=str(directory), project_name=_ORACLE_DIR
        )

    def trial_config(self, values: Mapping[str, Any], trial_id: str = "") -> ExperimentConfig:
        """The experiment that a trial trains: with its values and steps, measured on `tune.split`.

        Raises:
            UserError: the values do not fit together.
        """
        config = self.experiment.with_values(from_values(values), f"trial {trial_id}")
        if self.tune.steps is not None or self.tune.oracle == "hyperband":
            full = self.tune.steps or budget_of(config).steps
            config = with_steps(config, trial_steps(full, dict(values)))
        report = config.evaluate.report.model_copy(update={"projection": "pca"})
        changes = {"splits": [self.tune.split], "thresholds": {}, "report": report}
        evaluate: EvaluationConfig = config.evaluate.model_copy(update=changes)
        # Validation on the way would cost time and say nothing that the end does not.
        train = config.train.model_copy(update={"hooks": ()})
        return config.model_copy(update={"evaluate": evaluate, "train": train})

    def run_trial(self, trial: Any, *fit_args: Any, **fit_kwargs: Any) -> dict[str, float]:
        """Train and evaluate one trial; its objective, for the oracle."""
        try:
            config = self.trial_config(trial.hyperparameters.values, trial.trial_id)
            metrics = self._run(config, trial.trial_id)
        except (TrialFailed, UserError) as error:
            logging.warning("Trial %s failed: %s", trial.trial_id, error)
            raise errors.FailedTrialError(str(error)) from None
        value = metrics.get(self.tune.objective)
        if self.tune.objective not in metrics:
            raise errors.FatalValueError(_unknown_objective(self.tune.objective, metrics))
        if value is None or math.isnan(value):
            raise errors.FailedTrialError(f"{self.tune.objective} is not defined on this data.")
        return {self.tune.objective: float(value)}

    def search(self, *fit_args: Any, **fit_kwargs: Any) -> None:
        """Run the trials that are left.

        Raises:
            UserError: three trials in a row failed, or the objective is no metric.
        """
        try:
            super().search(*fit_args, **fit_kwargs)
        except errors.FatalValueError as error:
            raise UserError(str(error)) from None
        except RuntimeError as error:
            if "consecutive failures" not in str(error):
                raise
            reason = str(error).strip().rpartition("\n")[2]
            raise UserError(f"Three trials in a row failed, the last one so: {reason}") from None

    def on_search_begin(self) -> None:
        """Leave what marks the search as begun: else its state would not be read again."""
        self.save()

    def on_trial_end(self, trial: Any) -> None:
        """Tell the oracle, save, and tell who listens."""
        super().on_trial_end(trial)
        self._on_trial(self.oracle.get_trial(trial.trial_id))

    def search_space_summary(self, extended: bool = False) -> None:
        """Log the space; TFX asks for it, and the terminal is not the place."""
        for parameter in self.oracle.get_space().space:
            logging.info("Search space: %s", parameter.get_config())

    def results_summary(self, num_trials: int = 10) -> None:
        """Log the best trials."""
        for trial in self.oracle.get_best_trials(num_trials):
            logging.info(
                "Trial %s: %s %s", trial.trial_id, trial.score, trial.hyperparameters.values
            )


def _unknown_objective(objective: str, metrics: Mapping[str, Any]) -> str:
    nearest = difflib.get_close_matches(objective, metrics, n=1, cutoff=0.0)[0]
    return (
        f"tune.objective: the evaluation has no metric {objective!r}; the nearest is {nearest!r}."
    )
