"""Writing an evaluation: metrics, intervals, per-query table, blessing, report."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from tfx_pipeline.data.tables import write_parquet
from tfx_pipeline.evaluation.result import EvaluationResult
from tfx_pipeline.report.facts import ReportFacts
from tfx_pipeline.report.render import render_report


def write_evaluation(
    evaluation: EvaluationResult,
    out_dir: str | Path,
    history_path: str | Path | None = None,
    config_yaml: str = "",
    facts: ReportFacts | None = None,
) -> None:
    """Write metrics.json, intervals.json, per_query.parquet, report.html and blessing.json.

    Each file is renamed into place. The blessing is written last: where it is, the rest is.
    An undefined metric is null.

    Args:
        evaluation: what to write.
        out_dir: created if it does not exist.
        history_path: history.jsonl of the training, for the report.
        config_yaml: the experiment's configuration, for the report.
        facts: of the run and its data, for the report.
    """
    out = Path(out_dir)
    out.mkdir(parents=True, exist_ok=True)
    _write_json(out / "metrics.json", {k: _finite(v) for k, v in evaluation.metrics.items()})
    bootstrap = evaluation.config.bootstrap
    intervals = {
        key: [_finite(interval.low), _finite(interval.high)]
        for key, interval in evaluation.intervals.items()
    }
    _write_json(
        out / "intervals.json",
        {
            "confidence": bootstrap.confidence,
            "samples": bootstrap.samples,
            "seed": bootstrap.seed,
            "intervals": intervals,
        },
    )
    write_parquet(evaluation.per_query, out / "per_query.parquet")
    render_report(evaluation, history_path, config_yaml, facts, out / "report.html")
    _write_json(out / "blessing.json", evaluation.blessing.to_json())


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _write_json(path: Path, content: Any) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    temporary.write_text(text + "\n", encoding="utf-8")
    temporary.replace(path)
