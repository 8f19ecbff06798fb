"""`vlsearch evaluate`: measure the towers of a training run or of a release."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_SHOWN = (
    "recall@1",
    "recall@5",
    "recall@10",
    "mrr",
    "modality_gap",
    "zero_shot/accuracy@1",
    "knn@20/accuracy",
)


def evaluate(
    run: Annotated[Path, typer.Option("--run", help="Run folder of `vlsearch train`.")],
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override, e.g. evaluate.splits=[val]."),
    ] = None,
    release: Annotated[
        Path | None,
        typer.Option(metavar="ROOT", help="Measure this release on the run's data instead."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Output folder; evaluation/ in the run folder by default.")
    ] = None,
) -> None:
    """Evaluate towers: metrics.json, report.html and the per-query results."""
    import json

    from rich.console import Console

    from tfx_pipeline.cli.logs import hide_native_messages, log_to_file

    hide_native_messages()
    from tfx_pipeline.training_run import TrainingRun

    folder = TrainingRun(run)
    experiment = folder.load_experiment(overrides or [])
    log_to_file(run / "run.log")
    out = output or run / "evaluation"
    folder.evaluate(experiment, out, release)
    metrics = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    console = Console()
    for key in _SHOWN:
        if metrics.get(key) is not None:
            console.print(f"{key:<14} {metrics[key]:.4f}", highlight=False)
    console.print(f"Report: {out / 'report.html'}", highlight=False)
