"""How searches of a release use its reranker: as the experiment says, else as it was evaluated."""

from __future__ import annotations

from collections.abc import Mapping

from serving.rerank_settings import SUM, RerankSettings
from tfx_pipeline.config import ExperimentConfig
from tfx_pipeline.evaluation.metric_keys import RERANK_WEIGHT


def released_rerank(
    config: ExperimentConfig, metrics: Mapping[str, float | None]
) -> RerankSettings:
    """Return the settings that the manifest gets.

    Args:
        config: of the experiment; its ``release.rerank`` counts, if it is given.
        metrics: of the evaluation, with the weight that it chose.
    """
    if config.release.rerank is not None:
        return RerankSettings(**config.release.rerank.model_dump())
    evaluated = config.evaluate.rerank
    usual = RerankSettings(candidates=evaluated.candidates)
    if evaluated.order != SUM:
        return usual
    weight = metrics.get(RERANK_WEIGHT) if evaluated.weight == "auto" else evaluated.weight
    if weight is None:  # nobody has chosen one, so nothing was measured with it either
        return usual
    return RerankSettings(SUM, weight, evaluated.candidates)
