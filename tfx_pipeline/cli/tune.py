"""`vlsearch tune`: search for better values of an experiment's keys."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tfx_pipeline.cli.places import ConfigOption, for_weights, override_option

if TYPE_CHECKING:
    from rich.table import Table

    from tfx_pipeline.tuning.config import TuneConfig
    from tfx_pipeline.tuning.search import TrialRow


def tune(
    config: ConfigOption,
    data: Annotated[str, typer.Option(help="Data folder (data.folder): a path, s3:// or gs://.")],
    output: Annotated[
        Path, typer.Option(help="Output folder; a search in it goes on.", callback=for_weights)
    ],
    overrides: Annotated[list[str] | None, override_option("tune.trials=30")] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Forget an earlier search in the output folder.")
    ] = False,
) -> None:
    """Search for better hyperparameters: the experiment's section `tune` says over which keys.

    Every trial trains the experiment with other values, in a process of its own, and is
    measured on the val split. Writes trials.csv and best.yaml, a complete experiment for
    `vlsearch run`. A search that was killed goes on when the command is run again; finished
    trials are not repeated.
    """
    from tfx_pipeline.cli.logs import log_to_file
    from tfx_pipeline.run_lock import RunLock
    from tfx_pipeline.runners.experiment import load_experiment
    from tfx_pipeline.trials.process import leave_gpus_alone
    from vl_models.terminal import console, echo

    experiment = load_experiment(config, overrides or (), data=data)
    RunLock(output).acquire()  # until the process ends
    log_to_file(output / "tune.log")
    leave_gpus_alone()
    from tfx_pipeline.tuning.search import BEST_FILE, TABLE_FILE, search

    def report(row: TrialRow) -> None:
        values = ", ".join(f"{key}={_short(value)}" for key, value in row.values.items())
        outcome = f"failed: {row.message}" if row.score is None else f"{row.score:.4f}"
        echo(f"trial {row.id}: {outcome} ({values})")

    rows = search(experiment, output, fresh=fresh, on_trial=report)
    assert experiment.tune is not None, "`search` refuses an experiment without"
    console().print(_table(rows, experiment.tune))
    if all(row.score is None for row in rows):
        echo("No trial succeeded.")
        raise typer.Exit(1)
    echo(f"Trials: {output / TABLE_FILE}\nBest: {output / BEST_FILE}")


def _table(rows: list[TrialRow], tune: TuneConfig) -> Table:
    from rich.table import Table

    from vl_models.terminal import cell

    table = Table("trial", f"{tune.objective} ({tune.split})", "steps", "seconds")
    for key in tune.space:
        table.add_column(cell(key))
    for row in rows:
        score = "failed" if row.score is None else f"{row.score:.4f}"
        steps = "–" if row.steps is None else f"{row.steps:,}"
        seconds = "–" if row.seconds is None else f"{row.seconds:,.0f}"
        values = [_short(row.values.get(key)) for key in tune.space]
        table.add_row(row.id, score, steps, seconds, *map(cell, values))
    return table


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
