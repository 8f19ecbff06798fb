"""Retrieval inside one batch: a cheap number to watch while training."""

from __future__ import annotations

import numpy as np

from vl_models.metrics.judgements import Judgements
from vl_models.metrics.ranking import COSINE_TIE_TOLERANCE, rank_scores
from vl_models.metrics.retrieval import recall_at_k


def in_batch_recall(
    scores: np.ndarray, own: np.ndarray, known: np.ndarray, k: int = 1
) -> dict[str, float]:
    """R@k of the pairs of a batch among the batch, other known positives taken out, both ways.

    The candidates are those of the batch: the value falls as the batch grows, and is far above
    that on a whole gallery. Ties count against the model.

    Args:
        scores: float [I, T], cosine of image i and text j.
        own: bool [I, T], the pairs.
        known: bool [I, T], all known positives, the pairs among them.
        k: cut-off.

    Returns:
        ``recall@k`` (text to image) and ``recall@k/image_to_text``.
    """
    values = {}
    for direction, turned in (("", True), ("/image_to_text", False)):
        of_query, pairs, positives = (scores.T, own.T, known.T) if turned else (scores, own, known)
        query, item = np.nonzero(positives)
        judgements = Judgements.from_pairs(query, item, len(of_query), counted=pairs[query, item])
        ranking = rank_scores(of_query, judgements, COSINE_TIE_TOLERANCE)
        values[f"recall@{k}{direction}"] = recall_at_k(ranking, k).mean()
    return values
