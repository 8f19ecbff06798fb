"""`vlsearch tune`'s search: trials in processes of their own, in one output folder."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import io
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from serving.files import write_atomically
from tfx_pipeline.config import ExperimentConfig
from tfx_pipeline.trials.process import data_folder, run_trial, trial_key
from tfx_pipeline.trials.result import read_json
from tfx_pipeline.tuning.space import from_values
from tfx_pipeline.tuning.tuner import ExperimentTuner
from vl_models.errors import UserError

BEST_FILE, TABLE_FILE = "best.yaml", "trials.csv"
_KEY_FILE = "tune.key"
_DIRECTORIES = ("oracle", "trials")


@dataclasses.dataclass(frozen=True)
class TrialRow:
    """One trial, as the table shows it."""

    id: str
    status: str  # COMPLETED, FAILED, RUNNING
    score: float | None
    values: dict[str, Any]
    steps: int | None
    seconds: float | None
    message: str  # why it failed


def search(
    config: ExperimentConfig,
    output: Path,
    *,
    fresh: bool = False,
    on_trial: Callable[[TrialRow], None] = lambda row: None,
) -> list[TrialRow]:
    """Run the search that the experiment's section `tune` describes, or what is left of it.

    Args:
        config: the experiment.
        output: gets `oracle/`, `trials/`, `data/`, and after every trial trials.csv and best.yaml.
        fresh: forget an earlier search in ``output``.
        on_trial: called after each trial.

    Returns:
        All trials, best first; those that failed last.

    Raises:
        UserError: no section `tune`, or the folder holds another search, or trials keep failing.
        Interrupted: told to stop; the trial did, with a checkpoint.
    """
    if config.tune is None:
        raise UserError(
            f"Experiment '{config.name}' has no section `tune`: it says what to search, e.g. "
            "tune: {space: {train.learning_rate: {float: [1.0e-4, 1.0e-2], scale: log}}}."
        )
    _claim(config, output, fresh)

    def run(trial_config: ExperimentConfig, trial_id: str) -> dict[str, float | None]:
        data = data_folder(trial_config, output / "data")
        return run_trial(trial_config, output / "trials" / trial_id, data).metrics

    def finished(trial: Any) -> None:
        rows = _rows(tuner, output)
        write_atomically(output / TABLE_FILE, _csv_text(rows, config))
        if rows[0].score is not None:
            write_atomically(output / BEST_FILE, _best_yaml(rows, config))
        on_trial(next(row for row in rows if row.id == trial.trial_id))

    with contextlib.redirect_stdout(io.StringIO()):  # KerasTuner tells that it reloads
        tuner = ExperimentTuner(config, output, run, finished)
    tuner.search()
    return _rows(tuner, output)


def _claim(config: ExperimentConfig, output: Path, fresh: bool) -> None:
    """Make sure that the folder holds this search or none."""
    if fresh:
        for name in _DIRECTORIES:
            shutil.rmtree(output / name, ignore_errors=True)
        for name in (_KEY_FILE, BEST_FILE, TABLE_FILE):
            (output / name).unlink(missing_ok=True)
    data = data_folder(config, output / "data")
    free = {"name": True, "output": True, "data": True, "tune": {"trials", "enabled"}}
    key = trial_key(config, data, without=free)
    known = output / _KEY_FILE
    if known.is_file() and known.read_text(encoding="utf-8") != key:
        raise UserError(
            f"{output} holds a search over other data or settings, whose trials cannot be "
            "compared with these. Name another folder with --output, or give --fresh to forget it."
        )
    output.mkdir(parents=True, exist_ok=True)
    write_atomically(known, key)


def _rows(tuner: ExperimentTuner, output: Path) -> list[TrialRow]:
    rows = []
    for trial in tuner.oracle.get_best_trials(len(tuner.oracle.trials)):
        result = read_json(output / "trials" / trial.trial_id / "result.json") or {}
        done = trial.status == "COMPLETED"
        lines = (trial.message or "").strip().splitlines()
        values = from_values(trial.hyperparameters.values)
        rows.append(
            TrialRow(
                id=trial.trial_id,
                status=trial.status,
                score=trial.score if done else None,
                values=values,
                steps=_steps(tuner, trial) if done else None,
                seconds=result.get("seconds"),
                message=lines[-1].partition("FailedTrialError: ")[2] if lines else "",
            )
        )
    return rows


def _steps(tuner: ExperimentTuner, trial: Any) -> int:
    train = tuner.trial_config(trial.hyperparameters.values).train
    return sum(stage.steps or 0 for stage in train.resolved_stages())


def _csv_text(rows: list[TrialRow], config: ExperimentConfig) -> str:
    assert config.tune is not None
    keys = list(config.tune.space)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["trial", "status", config.tune.objective, "steps", "seconds", *keys, "error"])
    for row in rows:
        values = [row.values.get(key) for key in keys]
        cost = [row.steps, row.seconds]
        writer.writerow([row.id, row.status.lower(), row.score, *cost, *values, row.message])
    return text.getvalue()


def _best_yaml(rows: list[TrialRow], config: ExperimentConfig) -> str:
    """Return a complete experiment: the searched one with the best values, and its own steps."""
    assert config.tune is not None
    best = rows[0]
    done = sum(row.score is not None for row in rows)
    heading = (
        f"# The best of {done} trials: {config.tune.objective} {best.score:.4f} on the split "
        f"{config.tune.split} (trial {best.id}).\n"
    )
    return (
        heading
        + "".join(f"#   {key}: {value}\n" for key, value in best.values.items())
        + config.with_values(best.values).to_yaml()
    )
