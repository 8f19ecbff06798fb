"""RetrievalEvaluator: measures the exported towers and blesses them, or says why not."""

# No postponed annotations here: TFX reads the types of the component function.

import json
import logging
from pathlib import Path

from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types import standard_artifacts
from tfx.utils import path_utils

from tfx_pipeline.components.artifacts import Evaluation, Gallery, RejectedRows, Relevance


@component
def RetrievalEvaluator(
    model: InputArtifact[standard_artifacts.Model],
    model_run: InputArtifact[standard_artifacts.ModelRun],
    gallery: InputArtifact[Gallery],
    relevance: InputArtifact[Relevance],
    rejected: InputArtifact[RejectedRows],
    evaluation: OutputArtifact[Evaluation],
    blessing: OutputArtifact[standard_artifacts.ModelBlessing],
    experiment: Parameter[str],
    baseline: Parameter[str],
    data_span: Parameter[str],
    code_fingerprint: Parameter[str],
) -> None:
    """Evaluate with the SavedModels that would be served, compare, bless, report.

    Args:
      model: the Trainer's model, a folder with both towers.
      model_run: the Trainer's run, for the loss curves.
      gallery: images to search in.
      relevance: which image is right for which query, and in which split.
      rejected: rows that data preparation refused, for the report.
      evaluation: metrics, intervals, per-query results, report.
      blessing: `blessed` = 1 or 0.
      experiment: the experiment configuration, YAML.
      baseline: metrics of the current release as JSON, "" without one; decided at
        submission, so that a cached step stands for the same comparison.
      data_span: JSON list of the spans of the click log, for the report.
      code_fingerprint: of the evaluation's code, for the cache key only.
    """
    from tfx_pipeline.config import ExperimentConfig
    from tfx_pipeline.data.rejected import count_reasons
    from tfx_pipeline.evaluation.evaluate import evaluate_release
    from tfx_pipeline.evaluation.write import write_evaluation
    from tfx_pipeline.report.facts import ReportFacts

    del code_fingerprint
    config = ExperimentConfig.from_yaml(experiment)
    towers = Path(path_utils.serving_model_path(model.uri))
    result = evaluate_release(
        text_tower=towers / "text_tower",
        image_tower=towers / "image_tower",
        gallery_dir=gallery.uri,
        relevance_path=Path(relevance.uri, "relevance.parquet"),
        config=config.evaluate,
        baseline=json.loads(baseline) if baseline else None,
    )
    write_evaluation(
        result,
        evaluation.uri,
        history_path=Path(model_run.uri, "history.jsonl"),
        config_yaml=experiment,
        facts=ReportFacts(
            title=config.name,
            data={**result.counts, "spans": ", ".join(map(str, json.loads(data_span)))},
            rejected=count_reasons(rejected.uri),
        ),
    )
    blessing.set_int_custom_property("blessed", int(result.blessing.blessed))
    if not result.blessing.blessed:
        reasons = " ".join(result.blessing.reasons)
        blessing.set_string_custom_property("reasons", reasons)
        logging.warning("Not blessed: %s", reasons)
