"""The evaluators by name, and an evaluation: all that fit the members and the data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa

from tfx_pipeline.data.feature_set import FeatureSet
from tfx_pipeline.evaluation.answers import AnswersEvaluator
from tfx_pipeline.evaluation.blessing import bless
from tfx_pipeline.evaluation.captions import CaptionsEvaluator
from tfx_pipeline.evaluation.classes import Classes
from tfx_pipeline.evaluation.config import EvaluationConfig
from tfx_pipeline.evaluation.data import EvaluationData, Evaluator
from tfx_pipeline.evaluation.image_tokens import ImageTokens
from tfx_pipeline.evaluation.images import Images
from tfx_pipeline.evaluation.metric_keys import check_threshold_keys
from tfx_pipeline.evaluation.rerank import Rerank
from tfx_pipeline.evaluation.result import EvaluationResult
from tfx_pipeline.evaluation.retrieval import Retrieval
from tfx_pipeline.evaluation.twins import Twins
from tfx_pipeline.evaluation.zero_shot import ZeroShot
from vl_models.errors import UserError

EVALUATORS: dict[str, Evaluator] = {
    "retrieval": Retrieval(),
    "classes": Classes(),
    "zero_shot": ZeroShot(),
    "images": Images(),
    "rerank": Rerank(),
    "image_tokens": ImageTokens(),
    "twins": Twins(),
    "answers": AnswersEvaluator(),
    "captions": CaptionsEvaluator(),
}


def evaluate(
    members: Mapping[str, str | Path],
    config: EvaluationConfig,
    *,
    gallery_dir: str | Path | None = None,
    relevance_path: str | Path | None = None,
    features: FeatureSet | None = None,
    items_path: str | Path | None = None,
    questions_dir: str | Path | None = None,
    baseline: Mapping[str, float | None] | None = None,
) -> EvaluationResult:
    """Measure exported members with the SavedModels that would be served, and decide.

    Args:
        members: SavedModel folder by name.
        config: what to measure; its ``evaluators`` run, by default all that fit.
        gallery_dir: folder of ``data_tfrecord-*.gz``, every image of the store once.
        relevance_path: ``relevance.parquet`` with the clicks of all splits.
        features: a labelled set of features, for towers that read such.
        items_path: the data folder's table of items, if it has one.
        questions_dir: folder of the Examples of questions, ``Split-<split>/`` each.
        baseline: metrics of the current release, None if there is none.

    Raises:
        UserError: no evaluator fits, or one that is named does not; models or data that cannot be
            used; or a threshold on a metric that this evaluation does not yield.
    """
    data = EvaluationData(
        members, config, gallery_dir, relevance_path, features, items_path, questions_dir
    )
    chosen = _choose(data)
    keys = {name: evaluator.keys(data) for name, evaluator in chosen.items()}
    check_threshold_keys(config, [key for own in keys.values() for key in own])
    found = {name: evaluator.measure(data) for name, evaluator in chosen.items()}
    metrics = {key: found[name].metrics[key] for name, own in keys.items() for key in own}
    tables = [one.per_query for one in found.values() if one.per_query is not None]
    return EvaluationResult(
        config=config,
        metrics=metrics,
        intervals={key: i for one in found.values() for key, i in one.intervals.items()},
        baseline=None if baseline is None else dict(baseline),
        blessing=bless(metrics, config, baseline),
        per_query=pa.concat_tables(tables, promote_options="default"),
        counts={key: count for one in found.values() for key, count in one.counts.items()},
        headline=tuple(key for one in found.values() for key in one.headline),
        notes=tuple(one.note for one in found.values() if one.note),
        sections=tuple(section for one in found.values() for section in one.sections),
    )


def _choose(data: EvaluationData) -> dict[str, Evaluator]:
    """Return the evaluators that run, by name."""
    has = f"members={sorted(data.members)}"
    if data.config.evaluators is None:
        chosen = {
            name: evaluator
            for name, evaluator in EVALUATORS.items()
            if evaluator.fits(data) and evaluator.runs_by_default(data)
        }
        if not chosen:
            needs = "; ".join(f"{name} needs {one.needs}" for name, one in EVALUATORS.items())
            raise UserError(f"Nothing can be measured: {needs}. Received: {has}")
        return chosen
    for name in data.config.evaluators:
        if not EVALUATORS[name].fits(data):
            raise UserError(
                f"evaluate.evaluators: {name} needs {EVALUATORS[name].needs}. Received: {has}"
            )
    return {name: EVALUATORS[name] for name in data.config.evaluators}
