"""Rendering the report with its template."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path

import markupsafe
import numpy as np

from serving.files import write_atomically
from tfx_pipeline.evaluation.result import EmbeddingSample, EvaluationResult
from tfx_pipeline.report.facts import ReportFacts
from tfx_pipeline.report.history import read_history
from tfx_pipeline.report.plots import history_svg, precision_svg, space_svg
from tfx_pipeline.report.tables import cell
from tfx_pipeline.report.templates import load_template
from tfx_pipeline.report.thumbnails import data_uri
from vl_models.training.ending import REMEDY, Ending

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
        history_path: history.jsonl of the training, and beside it how it ended; their section is
            left out without them.
        config_yaml: the experiment's configuration; left out if empty.
        facts: of the run and its data; None for none.
        out_path: the file, renamed into place.
    """
    history = read_history(history_path)
    ending = None if history_path is None else Ending.read(Path(history_path).parent)
    curves = history_svg(history)
    drawn = evaluation.config.report.projection, evaluation.config.bootstrap.seed

    def space(sample: EmbeddingSample) -> tuple[markupsafe.Markup, str]:
        svg, projection = space_svg(sample, *drawn)
        return markupsafe.Markup(svg), projection

    def precision(values: Mapping[str, np.ndarray]) -> markupsafe.Markup:
        return markupsafe.Markup(precision_svg(values) or "")

    html = load_template(_TEMPLATE).render(
        facts=facts or ReportFacts(),
        evaluation=evaluation,
        cell=functools.partial(cell, evaluation),
        space=space,
        precision=precision,
        # A thumbnail is made once, however many queries show its image.
        thumbnail=functools.cache(data_uri),
        curves=None if curves is None else markupsafe.Markup(curves),
        unreadable_history=history.unreadable,
        collapsed="" if ending is None else ending.describe(),
        remedy=REMEDY,
        config_yaml=config_yaml,
    )
    write_atomically(Path(out_path), html)
