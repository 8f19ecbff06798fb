"""`vlsearch train`: train towers from a data folder, without the pipeline around it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def train(
    config: Annotated[Path, typer.Option("--config", "-c", help="Experiment, a YAML file.")],
    run: Annotated[Path, typer.Option("--run", help="Run folder; an interrupted run goes on.")],
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override, e.g. train.steps=100."),
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Data folder (data.folder).")] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Forget an earlier training in the run folder.")
    ] = False,
) -> None:
    """Train towers: Examples (cached in the run folder) → vocabulary → towers/.

    The Examples are made by the same code as in the pipeline. SIGTERM or Ctrl-C stops after
    the current step with a checkpoint; running the same command again continues exactly.
    """
    from tfx_pipeline.cli.logs import hide_native_messages, log_to_file

    hide_native_messages()
    from tfx_pipeline.config import ExperimentConfig
    from tfx_pipeline.data.rejected import describe
    from tfx_pipeline.training_run import TrainingRun
    from vl_models.training.strategy import make_strategy

    given = list(overrides or [])
    given += [f"data.folder={json.dumps(str(data))}"] if data is not None else []
    experiment = ExperimentConfig.load(config, given)

    log_to_file(run / "run.log")
    folder = TrainingRun(run)
    make_strategy(experiment.devices)  # devices are divided before TensorFlow runs anything
    folder.prepare(experiment, fresh)
    if rejected := describe(folder.data / "rejected"):
        typer.echo(rejected)
    folder.train(experiment)
    typer.echo(f"Towers: {folder.towers}\nEvaluate them: vlsearch evaluate --run {run}")
