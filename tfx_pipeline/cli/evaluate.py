"""`vlsearch evaluate`: measure what a training run or a release consists of."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tfx_pipeline.cli.places import for_weights, on_disk, override_option, release_root


def evaluate(
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="RUN", help="Run folder of `vlsearch train`.", callback=for_weights),
    ] = None,
    run: Annotated[
        Path | None, typer.Option("--run", help="The same, as an option.", callback=for_weights)
    ] = None,
    overrides: Annotated[list[str] | None, override_option("evaluate.splits=[val]")] = None,
    release: Annotated[
        str | None,
        typer.Option(
            metavar="ROOT",
            help="Measure this release on the run's data instead: a path, s3:// or gs://.",
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(help="Data folder (a path, s3:// or gs://); that of the training by default."),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(help="train, val, test, or several with commas (evaluate.splits)."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            help="Output folder; evaluation/ in the run folder by default.", callback=on_disk
        ),
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the metrics here, too.")
    ] = None,
) -> None:
    """Evaluate towers: metrics.json, report.html and the per-query results."""
    import math

    from serving.files import write_atomically
    from tfx_pipeline.cli.logs import log_to_file
    from tfx_pipeline.training_run import TrainingRun
    from vl_models.errors import UserError
    from vl_models.terminal import echo

    if (folder is None) == (run is None):
        raise UserError("Name one run folder: `vlsearch evaluate RUN`.")
    path = folder or run
    assert path is not None
    given = list(overrides or [])
    given += [f"evaluate.splits=[{split}]"] if split is not None else []
    training = TrainingRun(path)
    experiment = training.load_experiment(given)
    log_to_file(path / "run.log")
    out = output or path / "evaluation"
    root = None if release is None else release_root(release)
    result = training.evaluate(experiment, out, root, data)
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(json_file, (out / "metrics.json").read_text(encoding="utf-8"))
    for key in result.headline:
        if math.isfinite(result.metrics[key]):
            echo(f"{key:<28} {result.metrics[key]:.4f}")
    echo(f"Report: {out / 'report.html'}")
