"""How well labels are told apart by neighbours alone: an image tower without texts."""

from __future__ import annotations

import numpy as np

# Scores held at once: 2^24 float32 are 64 MiB.
_MAX_BLOCK_ELEMENTS = 2**24


def knn_correct(
    embeddings: np.ndarray,
    labels: np.ndarray,
    k: int = 20,
    temperature: float = 0.07,
    max_block_elements: int = _MAX_BLOCK_ELEMENTS,
) -> np.ndarray:
    """Leave-one-out weighted k-nearest-neighbour classification by cosine.

    The k nearest other rows vote for each of their labels with weight exp(cosine /
    temperature). Wu et al., "Unsupervised Feature Learning via Non-Parametric Instance
    Discrimination", section 3.4.

    Args:
        embeddings: float32 [N, D], unit norm.
        labels: bool [N, C], every row with at least one label.
        k: neighbours, at most the N - 1 that there are.
        temperature: of the weights; 0.07 in the paper.
        max_block_elements: cosines held at once (at least one row of N).

    Returns:
        bool [N], whether a label of the row has more votes than every label that it has not.
        A tie is wrong, so that equal embeddings for everything are not right by chance.

    Raises:
        ValueError: shapes that do not fit, fewer than two rows, or a row without a label.
    """
    count = len(embeddings)
    if labels.shape[:1] != (count,) or count < 2 or not labels.any(axis=1).all():
        raise ValueError(
            "Two or more embeddings with at least one label each are needed. Received: "
            f"embeddings.shape={embeddings.shape}, labels.shape={labels.shape}, "
            f"rows without a label={int((~labels.any(axis=-1)).sum())}"
        )
    k = min(k, count - 1)
    correct = np.empty(count, bool)
    rows_per_block = max(1, max_block_elements // max(count, labels.shape[1]))
    for start in range(0, count, rows_per_block):
        rows = np.arange(start, min(start + rows_per_block, count))
        cosines = embeddings[rows] @ embeddings.T
        cosines[rows - start, rows] = -np.inf  # a row is not its own neighbour
        nearest = np.argsort(-cosines, axis=1, kind="stable")[:, :k]
        closeness = np.take_along_axis(cosines, nearest, axis=1).astype(np.float64)
        # Relative to the nearest: only comparisons within a row matter, and exp stays finite.
        weights = np.exp((closeness - closeness[:, :1]) / temperature)
        votes = np.zeros((len(rows), labels.shape[1]))
        for neighbour in range(k):
            votes += weights[:, neighbour, None] * labels[nearest[:, neighbour]]
        right = np.where(labels[rows], votes, -np.inf).max(axis=1)
        wrong = np.where(labels[rows], -np.inf, votes).max(axis=1)
        correct[rows] = right > wrong
    return correct
