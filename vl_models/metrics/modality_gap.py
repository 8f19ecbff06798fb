"""Distance between the image cone and the text cone of a shared embedding space."""

from __future__ import annotations

import numpy as np


def modality_gap(images: np.ndarray, texts: np.ndarray) -> float:
    """Euclidean distance between the centroids of the two modalities (Liang et al. 2022, 2).

    Args:
        images: float[N, D], unit norm.
        texts: float[M, D], unit norm.

    Returns:
        Distance in [0, 2]: 0 where the centroids meet, 2 where each modality is a point and the
        points are opposite.
    """
    centroid = images.mean(axis=0, dtype=np.float64) - texts.mean(axis=0, dtype=np.float64)
    return float(np.linalg.norm(centroid))
