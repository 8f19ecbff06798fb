"""Training and measuring every experiment of a comparison, one after the other."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from tfx_pipeline.comparison.budget import Budget, budget_of, with_samples
from tfx_pipeline.config import ExperimentConfig
from tfx_pipeline.runners.experiment import load_experiment
from tfx_pipeline.trials.process import TrialFailed, data_folder, run_trial, trial_key
from tfx_pipeline.trials.result import TrialResult
from vl_models.errors import UserError


@dataclasses.dataclass(frozen=True)
class Finished:
    """One training of a contestant, with the folder that it is in."""

    seed: int
    run: Path
    result: TrialResult


@dataclasses.dataclass(frozen=True)
class Contestant:
    """One experiment of a comparison.

    Attributes:
        name: unique among the contestants.
        system: of the model.
        budget: how it was trained.
        runs: one per seed; those before a failure, if it failed.
        error: why it failed; empty if it did not.
    """

    name: str
    system: str
    budget: Budget
    runs: tuple[Finished, ...] = ()
    error: str = ""


# What does not change the towers; the data counts by its content.
_WITHOUT_INFLUENCE = {
    **dict.fromkeys(("name", "output", "data", "evaluate", "index", "release"), True),
    **dict.fromkeys(("tune", "beam_pipeline_args", "metadata", "kubeflow"), True),
    "train": {"log_every", "checkpoint_every", "keep", "hooks"},
}

# Called with a line of what goes on.
Report = Callable[[str], None]


def load_experiments(
    paths: Sequence[Path], overrides: Sequence[str], data: str | None = None
) -> dict[str, ExperimentConfig]:
    """Return the experiments by their names, or by their files' names if two share one.

    Args:
        paths: YAML files.
        overrides: ``key.sub=value``, the same in all.
        data: data folder instead of those that the files name.

    Raises:
        UserError: wrong files or overrides, or names that cannot be told apart.
    """
    loaded = [(path, load_experiment(path, overrides, data=data)) for path in paths]
    for names in ([config.name for _, config in loaded], [path.stem for path in paths]):
        if len(set(names)) == len(names):
            return dict(zip(names, (config for _, config in loaded)))
    raise UserError(
        "Give the experiments or their files different names; the table tells them apart by "
        f"those. Received: {', '.join(map(str, paths))}."
    )


def compare(
    experiments: dict[str, ExperimentConfig],
    output: Path,
    *,
    samples: int | None = None,
    own_budgets: bool = False,
    seeds: Sequence[int] | None = None,
    fresh: bool = False,
    report: Report = lambda line: None,
) -> list[Contestant]:
    """Train each experiment under the same budget and evaluate all alike.

    What is measured, and how, is as the first experiment says. A training that is finished
    (same data, settings and budget) is not repeated, an interrupted one goes on.

    Args:
        experiments: by name; the first is what the others are compared with.
        output: gets `data/` (Examples, shared) and `runs/`.
        samples: training images each may see; by default as many as the first says itself.
        own_budgets: let each train as long as it says instead.
        seeds: each trains once per seed; by default once, with its own.
        fresh: forget earlier trainings in ``output``.
        report: called with a line whenever a training begins or ends.

    Raises:
        UserError: the data folder or a budget is wrong; a training that fails is in its
            contestant's ``error``.
        Interrupted: told to stop.
    """
    first = next(iter(experiments.values()))
    experiments = planned(experiments, samples, own_budgets)
    # Thresholds decide on a release, which this is none.
    evaluate = first.evaluate.model_copy(update={"thresholds": {}})
    prepared = {
        name: config.model_copy(update={"evaluate": evaluate})
        for name, config in experiments.items()
    }
    if fresh:
        shutil.rmtree(output / "runs", ignore_errors=True)
    return [_train(name, config, output, seeds, report) for name, config in prepared.items()]


def planned(
    experiments: dict[str, ExperimentConfig], samples: int | None, own_budgets: bool
) -> dict[str, ExperimentConfig]:
    """Return the experiments under one budget, or as they are.

    Args:
        experiments: by name.
        samples: training images each may see; None is what the first says itself.
        own_budgets: let each train as long as it says instead.
    """
    if own_budgets:
        return experiments
    budget = samples or budget_of(next(iter(experiments.values()))).samples
    return {name: with_samples(config, budget) for name, config in experiments.items()}


def _train(
    name: str,
    config: ExperimentConfig,
    output: Path,
    seeds: Sequence[int] | None,
    report: Report,
) -> Contestant:
    contestant = Contestant(name, config.model.system, budget_of(config))
    data = data_folder(config, output / "data")
    runs: list[Finished] = []
    for seed in (config.train.seed,) if seeds is None else seeds:
        seeded = config.model_copy(update={"train": config.train.model_copy(update={"seed": seed})})
        report(f"{name}, seed {seed}: {contestant.budget.steps:,} steps")
        try:
            run = output / "runs" / f"{name}-{_key(seeded, data)}"
            result = run_trial(seeded, run, data)
        except TrialFailed as error:
            report(f"{name}, seed {seed}: failed. {error}")
            return dataclasses.replace(contestant, runs=tuple(runs), error=str(error))
        runs.append(Finished(seed, run, result))
        report(f"{name}, seed {seed}: {result.seconds:.0f} s")
    return dataclasses.replace(contestant, runs=tuple(runs))


def _key(config: ExperimentConfig, data: Path) -> str:
    """Of everything that a training's outcome depends on, the data's content included."""
    return trial_key(config, data, without=_WITHOUT_INFLUENCE)[:8]
