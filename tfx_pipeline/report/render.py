"""Rendering the report with its template."""

from __future__ import annotations

from pathlib import Path

import markupsafe

from tfx_pipeline.evaluation.metric_keys import MODALITY_GAP
from tfx_pipeline.evaluation.result import EvaluationResult
from tfx_pipeline.report import tables
from tfx_pipeline.report.facts import ReportFacts
from tfx_pipeline.report.history import read_history
from tfx_pipeline.report.plots import history_svg, precision_svg, space_svg
from tfx_pipeline.report.templates import load_template
from tfx_pipeline.report.thumbnails import data_uri

_TEMPLATE = Path(__file__).with_name("report.html.j2")


def render_report(
    evaluation: EvaluationResult,
    history_path: str | Path | None,
    config_yaml: str,
    facts: ReportFacts | None,
    out_path: str | Path,
) -> None:
    """Write the report as one HTML file without links: styles, plots and images are inside.

    Args:
      evaluation: what to show.
      history_path: history.jsonl of the training; its section is left out without it.
      config_yaml: the experiment's configuration; left out if empty.
      facts: of the run and its data; None for none.
      out_path: the file, renamed into place.
    """
    history = read_history(history_path)
    drawn = evaluation.config.report.projection, evaluation.config.bootstrap.seed
    space, projection = space_svg(evaluation.sample, *drawn)
    before = evaluation.sample_before
    space_before = None if before is None else markupsafe.Markup(space_svg(before, *drawn)[0])
    curves = history_svg(history)
    precision = precision_svg(evaluation.precision_curves)
    columns, directions = tables.direction_rows(evaluation)
    zero_shot_columns, zero_shot = tables.zero_shot_rows(evaluation)
    # A thumbnail is made once, however many queries show its image.
    uris = {name: data_uri(encoded) for name, encoded in evaluation.thumbnails.items()}
    html = load_template(_TEMPLATE).render(
        facts=facts or ReportFacts(),
        evaluation=evaluation,
        headline=tables.headline(evaluation),
        columns=columns,
        directions=directions,
        slices=tables.slice_tables(evaluation),
        slice_measures=tables.headline_names(evaluation.config),
        curves=None if curves is None else markupsafe.Markup(curves),
        precision=None if precision is None else markupsafe.Markup(precision),
        unreadable_history=history.unreadable,
        space=markupsafe.Markup(space),
        space_before=space_before,
        projection=projection,
        gap=tables.cell(evaluation, MODALITY_GAP) if MODALITY_GAP in evaluation.metrics else None,
        zero_shot_columns=zero_shot_columns,
        zero_shot=zero_shot,
        thumbnails=uris,
        config_yaml=config_yaml,
    )
    out = Path(out_path)
    temporary = out.with_name(f".{out.name}.tmp")
    temporary.write_text(html, encoding="utf-8")
    temporary.replace(out)
