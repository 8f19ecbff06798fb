"""RetrievalEvaluator: measures the exported members and blesses them, or says why not."""

# No postponed annotations here: TFX reads the types of the component function.

import json
import logging
from pathlib import Path

from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types import standard_artifacts
from tfx.utils import path_utils

from tfx_pipeline.components.artifacts import Evaluation, Gallery, RejectedRows, RelevanceTable


@component
def RetrievalEvaluator(
    model: InputArtifact[standard_artifacts.Model],
    model_run: InputArtifact[standard_artifacts.ModelRun],
    gallery: InputArtifact[Gallery],
    relevance: InputArtifact[RelevanceTable],
    rejected: InputArtifact[RejectedRows],
    evaluation: OutputArtifact[Evaluation],
    blessing: OutputArtifact[standard_artifacts.ModelBlessing],
    experiment: Parameter[str],
    thresholds: Parameter[str],
    baseline: Parameter[str],
    serving_root: Parameter[str],
    code_fingerprint: Parameter[str],
) -> None:
    """Evaluate with the SavedModels that would be served, compare, bless, report.

    Args:
        model: the Trainer's model, with a folder per member.
        model_run: the Trainer's run, for the loss curves.
        gallery: images to search in.
        relevance: which image is right for which query, and in which split.
        rejected: rows that data preparation refused, for the report.
        evaluation: metrics, intervals, per-query results, report.
        blessing: `blessed` = 1 or 0.
        experiment: the experiment configuration, YAML.
        thresholds: rules for a release in place of the experiment's, as JSON; "" keeps those.
        baseline: metrics of the current release as JSON, "" without one; decided at
            submission, so that a cached step stands for the same comparison. "current" where the
            submitter could not see the releases: then those of the serving root count.
        serving_root: folder of the releases.
        code_fingerprint: of the evaluation's code and of the files that it reads beside its
            inputs (the reranker's, the data folder's items), for the cache key only.
    """
    from tfx_pipeline.config import ExperimentConfig
    from tfx_pipeline.data.items import find_items
    from tfx_pipeline.data.rejected import count_reasons
    from tfx_pipeline.evaluation.evaluators import evaluate
    from tfx_pipeline.evaluation.write import write_evaluation
    from tfx_pipeline.release.place import CURRENT, current_metrics
    from tfx_pipeline.release.reranker import released_members
    from tfx_pipeline.report.facts import ReportFacts

    del code_fingerprint
    config = ExperimentConfig.from_yaml(experiment)
    if thresholds:
        rules = {"evaluate.thresholds": json.loads(thresholds)}
        config = config.with_values(rules, "The run's parameter thresholds")
    spans = relevance.get_string_custom_property("spans")
    result = evaluate(
        released_members(Path(path_utils.serving_model_path(model.uri)), config.release.reranker),
        config.evaluate,
        gallery_dir=gallery.uri,
        relevance_path=Path(relevance.uri, "relevance.parquet"),
        items_path=find_items(config.data.folder),
        baseline=current_metrics(serving_root)
        if baseline == CURRENT
        else json.loads(baseline or "null"),
    )
    write_evaluation(
        result,
        evaluation.uri,
        history_path=Path(model_run.uri, "history.jsonl"),
        config_yaml=config.to_yaml(),
        facts=ReportFacts(
            title=config.name,
            data={**result.counts, "spans": spans.replace(",", ", ")},
            rejected=count_reasons(rejected.uri),
        ),
    )
    evaluation.set_string_custom_property("spans", spans)
    blessing.set_int_custom_property("blessed", int(result.blessing.blessed))
    if not result.blessing.blessed:
        reasons = " ".join(result.blessing.reasons)
        blessing.set_string_custom_property("reasons", reasons)
        logging.warning("Not blessed: %s", reasons)
