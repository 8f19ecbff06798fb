"""Area under the ROC curve of scored (query, image) pairs."""

from __future__ import annotations

import numpy as np


def auc(scores: np.ndarray, clicked: np.ndarray) -> float:
    """Chance that a clicked pair scores above one that was not clicked, ties counting half.

    The Mann-Whitney statistic over all pairs of (clicked, not clicked).

    Args:
      scores: float[n].
      clicked: bool or 0/1 [n].

    Returns:
      AUC in [0, 1]; NaN if all or none are clicked.
    """
    clicked = np.asarray(clicked, bool)
    scores = np.asarray(scores)
    positive, negative = scores[clicked], np.sort(scores[~clicked])
    if not len(positive) or not len(negative):
        return float("nan")
    lower = np.searchsorted(negative, positive, "left")
    not_higher = np.searchsorted(negative, positive, "right")
    return float((lower + not_higher).mean() / (2 * len(negative)))
