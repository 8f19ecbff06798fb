"""`vlsearch train`: train towers from a data folder, without the pipeline around it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tfx_pipeline.cli.places import (
    BeamOption,
    ConfigOption,
    DataOption,
    for_weights,
    override_option,
)


def train(
    config: ConfigOption,
    run: Annotated[
        Path,
        typer.Option(
            "--run",
            "--output",
            help="Run folder; an interrupted run goes on.",
            callback=for_weights,
        ),
    ],
    overrides: Annotated[list[str] | None, override_option("train.steps=100")] = None,
    data: DataOption = None,
    beam: BeamOption = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Forget an earlier training in the run folder.")
    ] = False,
    worker_timeout: Annotated[
        float,
        typer.Option(help="With several workers: seconds to wait for the chief's files."),
    ] = 60.0,
) -> None:
    """Train towers: Examples (cached in the run folder) → vocabulary → towers/.

    The Examples are made by the same code as in the pipeline. SIGTERM or Ctrl-C stops after
    the current step with a checkpoint; running the same command again continues exactly.

    With several workers in TF_CONFIG, start the same command on each, with the same, shared run
    folder: the chief prepares the data and writes everything, all of them train.
    """
    from tfx_pipeline.cli.logs import log_to_file
    from tfx_pipeline.runners.experiment import load_experiment

    experiment = load_experiment(config, overrides or (), data=data, beam=beam)
    experiment.load_data_folder()

    # Slow to import; what is wrong in the experiment is said before.
    from serving.commands import command
    from tfx_pipeline.data.rejected import describe
    from tfx_pipeline.training_run import TrainingRun
    from tfx_pipeline.worker_run import prepare_on_chief
    from vl_models.terminal import echo
    from vl_models.training.ending import REMEDY, Ending
    from vl_models.training.strategy import make_strategy
    from vl_models.training.workers import place_in_cluster

    place = place_in_cluster()
    log_to_file(run / ("run.log" if place.is_chief else f"run-worker-{place.index}.log"))
    if place.count > 1:
        echo(f"Worker {place.index} of {place.count}: waiting for the others.")
    folder = TrainingRun(run)
    # Devices are divided, and workers meet, before TensorFlow runs anything.
    strategy = make_strategy(experiment.devices)
    prepare_on_chief(folder, experiment, strategy, fresh=fresh, timeout=worker_timeout)
    if place.is_chief and (rejected := describe(folder.data / "rejected")):
        echo(rejected)
    folder.train(experiment)
    if place.is_chief:
        ending = Ending.read(folder.training)
        if ending is not None and ending.collapsed:
            echo(f"Warning: the training ended {ending.describe()}. {REMEDY}", stderr=True)
        echo(f"Towers: {folder.towers}")
        echo(f"Evaluate them: {command('vlsearch', 'evaluate', '--run', run)}")
