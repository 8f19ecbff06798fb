"""The weight of a reranker's score beside the cosine, chosen on the split val."""

from __future__ import annotations

import numpy as np

from tfx_pipeline.evaluation.candidates import (
    Candidates,
    find_candidates,
    rank_candidates,
    score_candidates,
)
from tfx_pipeline.evaluation.config import SplitName
from tfx_pipeline.evaluation.data import EvaluationData
from tfx_pipeline.evaluation.pair_scorer import PairScorer
from vl_models.errors import UserError
from vl_models.metrics.retrieval import reciprocal_rank

VAL: SplitName = "val"
# Cosines differ by hundredths, scores of a classifier's logits by units; 0 is the towers' order.
WEIGHTS = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


def choose_weight(data: EvaluationData, scorer: PairScorer, way: str) -> float:
    """Return the one of `WEIGHTS` with the best mean reciprocal rank on val; of equals the least.

    Args:
        data: members and gallery; its own queries are not looked at.
        scorer: of the reranker.
        way: see `score_candidates`.

    Raises:
        UserError: val has no query whose image is in the gallery.
    """
    try:
        val = data.of_split(VAL)
        candidates = find_candidates(val)
    except UserError as error:
        raise UserError(
            f"evaluate.rerank.weight: auto is chosen on the split {VAL}, which cannot be used: "
            f"{error} Give a number."
        ) from error
    scores = score_candidates(val, scorer, way, candidates)
    found = [_mean_reciprocal_rank(val, candidates, scores, weight) for weight in WEIGHTS]
    return WEIGHTS[int(np.argmax(found))]


def _mean_reciprocal_rank(
    val: EvaluationData, candidates: Candidates, scores: np.ndarray, weight: float
) -> float:
    ranking = rank_candidates(val, candidates, candidates.cosines + weight * scores)
    return reciprocal_rank(ranking, val.config.protocol).mean()
