"""`vlsearch compare`: several experiments under one budget, in one table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tfx_pipeline.cli.places import for_weights

if TYPE_CHECKING:
    from rich.table import Table


def compare(
    configs: Annotated[
        list[Path],
        typer.Argument(metavar="CONFIG...", help="Experiments; the first is the reference."),
    ],
    data: Annotated[
        str, typer.Option(help="Data folder that all are trained on: a path, s3:// or gs://.")
    ],
    output: Annotated[
        Path, typer.Option(help="Output folder; finished trainings are kept.", callback=for_weights)
    ],
    steps: Annotated[
        int | None, typer.Option(min=1, help="Budget, in steps of the first experiment.")
    ] = None,
    samples: Annotated[
        int | None, typer.Option(min=1, help="Budget, in training images seen.")
    ] = None,
    own_budgets: Annotated[
        bool,
        typer.Option("--own-budgets", help="Let each train as long as it says itself."),
    ] = False,
    seeds: Annotated[
        str | None,
        typer.Option(metavar="N,N,…", help="Train each once per seed; by default with its own."),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override in every experiment."),
    ] = None,
    metrics: Annotated[
        list[str] | None,
        typer.Option("--metric", metavar="KEY", help="Show this metric, too, e.g. ndcg@10."),
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Forget earlier trainings in the output folder.")
    ] = False,
) -> None:
    """Train experiments under the same budget and compare them in one table.

    The budget is a number of training images seen (steps × global batch × accumulation), by
    default the first experiment's; warm-ups and decays are stretched to it. With --own-budgets
    none is changed. All are evaluated as the first experiment says. Writes comparison.csv and
    comparison.html and prints the table: quality with bootstrap intervals and paired
    differences to the first, parameters, speed, memory.

    Every training runs in a process of its own. A finished one is not repeated; an
    interrupted one goes on when the command is run again. Exits with code 1 if one failed.
    """
    from tfx_pipeline.cli.logs import log_to_file
    from vl_models.errors import UserError
    from vl_models.terminal import console, echo

    if (steps is not None) + (samples is not None) + own_budgets > 1:
        raise UserError(
            "--steps, --samples and --own-budgets exclude each other: give one of them."
        )
    numbers = None if seeds is None else _parse_seeds(seeds)
    from tfx_pipeline.comparison.budget import budget_of, with_steps
    from tfx_pipeline.comparison.quality import chosen_metrics, measure
    from tfx_pipeline.comparison.run import compare as run_comparison
    from tfx_pipeline.comparison.run import load_experiments
    from tfx_pipeline.comparison.table import Comparison, write_tables
    from tfx_pipeline.run_lock import RunLock
    from tfx_pipeline.trials.process import leave_gpus_alone

    experiments = load_experiments(configs, overrides or (), data)
    first = next(iter(experiments.values()))
    if steps is not None:
        samples = budget_of(with_steps(first, steps)).samples
    RunLock(output).acquire()  # until the process ends
    log_to_file(output / "compare.log")
    leave_gpus_alone()

    contestants = run_comparison(
        experiments,
        output,
        samples=samples,
        own_budgets=own_budgets,
        seeds=numbers,
        fresh=fresh,
        report=echo,
    )
    bootstrap = first.evaluate.bootstrap
    keys = chosen_metrics(contestants, metrics or [])
    comparison = Comparison(
        contestants=contestants,
        metrics={key: measure(contestants, key, bootstrap) for key in keys},
        confidence=bootstrap.confidence,
        splits=first.evaluate.splits,
        data=str(data),
    )
    write_tables(comparison, output)
    for table in _tables(comparison):
        console().print(table)
    echo(f"Table: {output / 'comparison.html'}, {output / 'comparison.csv'}")
    if any(contestant.error for contestant in contestants):
        raise typer.Exit(1)


def _tables(comparison: object) -> list[Table]:
    """Return the comparison for a terminal."""
    from rich.table import Table

    from tfx_pipeline.comparison import table as tables

    made = []
    for title, rows_of in (
        ("Quality", tables.quality_rows),
        ("Cost", tables.cost_rows),
        ("Budget", tables.budget_rows),
    ):
        headings, rows = rows_of(comparison)  # type: ignore[arg-type]
        if not rows:  # all failed; the last table says why
            continue
        table = Table(title=title, title_justify="left", show_lines=title == "Quality")
        for index, heading in enumerate(headings):
            text = index == 0 or heading in ("system", "outcome", "final losses")
            table.add_column(heading, justify="left" if text else "right", overflow="fold")
        for row in rows:
            table.add_row(*row)
        made.append(table)
    return made


def _parse_seeds(text: str) -> list[int]:
    from vl_models.errors import UserError

    parts = text.split(",")
    if not all(part.strip().isdecimal() for part in parts) or len(set(parts)) < len(parts):
        raise UserError(
            "--seeds takes different whole numbers with commas between them, for example "
            f"0,1,2. Received: {text!r}."
        )
    return [int(part) for part in parts]
