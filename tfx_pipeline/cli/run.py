"""`vlsearch run`: the whole pipeline on this machine."""

from __future__ import annotations

import sys
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


def run(
    config: ConfigOption,
    overrides: Annotated[list[str] | None, override_option("train.steps=100")] = None,
    data: DataOption = None,
    beam: BeamOption = None,
    output: Annotated[
        Path | None, typer.Option(help="Output folder (output).", callback=for_weights)
    ] = None,
    smoke: Annotated[
        bool, typer.Option("--smoke", help="Shrink the experiment to seconds: does it run?")
    ] = False,
    index_only: Annotated[
        bool | None,
        typer.Option(
            "--index-only/--train",
            help="Index the gallery with the current release's towers, or train. By default towers "
            "stay where nothing but the images has changed since that release.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Run the pipeline: click log → Examples → towers → evaluation → index → release.

    Finished steps of earlier runs are reused; a killed run is continued by running it again.
    Where nothing but the gallery has changed, it gets a new index of the same towers.
    Exits with code 1 if the candidate was not good enough to be released.
    """
    from tfx_pipeline.cli.logs import log_to_file
    from tfx_pipeline.run_lock import RunLock
    from tfx_pipeline.runners.experiment import load_experiment

    experiment = load_experiment(
        config, overrides or (), data=data, beam=beam, output=output, smoke=smoke
    )
    experiment.load_data_folder()  # what is wrong there is said before anything is imported

    log_file = Path(experiment.output, "pipeline", "run.log")
    RunLock(log_file.parent).acquire()  # until the process ends
    log_to_file(log_file)

    from tfx_pipeline.submission import submit
    from vl_models.terminal import echo, styled
    from vl_models.training.strategy import make_strategy

    make_strategy(experiment.devices)  # devices are divided before TensorFlow runs anything
    submission = submit(experiment, index_only=index_only)
    assert submission.data is not None
    told = f": {len(submission.data.files)} log files of {experiment.data.folder}; messages go to "
    echo(styled(experiment.name, "bold", f"{told}{log_file}"))
    if submission.towers:
        why = "As told" if index_only else "Nothing but the gallery has changed"
        echo(f"{why}: the towers of the current release stay, and get another index.")
    from tfx_pipeline.runners.local import run_local
    from tfx_pipeline.runners.progress import StepReport

    def progress(step: StepReport) -> None:
        if step.seconds is not None:
            echo(f"{step.place} {step.outcome}")
        elif sys.stdout.isatty():
            echo(step.place, end="\r")

    result = run_local(submission, progress)
    if result.rejected:
        echo(result.rejected)
    if not submission.towers:
        echo(f"Report:  {result.report_file}\nMetrics: {result.metrics_file}")
    if result.released_version is None:
        echo(styled("Not released", "bold red", f": {result.reasons}"))
        raise typer.Exit(1)
    bucket = experiment.release.publish_to
    told = f" version {result.released_version} to {submission.serving_root}"
    echo(styled("Released", "bold green", told + (f" and {bucket}" if bucket else "")))
