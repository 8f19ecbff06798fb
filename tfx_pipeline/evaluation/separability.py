"""How easily image embeddings and text embeddings are told apart."""

from __future__ import annotations

import numpy as np

_SAMPLE = 2000  # rows per modality; the silhouette compares all with all


def modality_classifier_accuracy(images: np.ndarray, texts: np.ndarray, seed: int) -> float:
    """Accuracy of a logistic regression on held-out embeddings; 0.5 = no gap.

    Each half of a sample is classified by what was learned on the other; both modalities count
    alike.

    Args:
        images: float[N, D].
        texts: float[M, D].
        seed: of sample and halves.

    Returns:
        Accuracy in [0, 1]; NaN with fewer than two rows of a modality.
    """
    from sklearn.linear_model import LogisticRegression  # scikit-learn takes a second to import

    if min(len(images), len(texts)) < 2:
        return float("nan")
    generator = np.random.default_rng(seed)
    halves = [_halves(rows, generator) for rows in (images, texts)]
    correct = []
    for held_out in (0, 1):
        learned = [half[1 - held_out] for half in halves]
        model = LogisticRegression(max_iter=1000, class_weight="balanced")
        model.fit(np.concatenate(learned), np.repeat([0, 1], [len(part) for part in learned]))
        correct += [
            (model.predict(half[held_out]) == side).mean() for side, half in enumerate(halves)
        ]
    return float(np.mean(correct))


def modality_silhouette(images: np.ndarray, texts: np.ndarray, seed: int) -> float:
    """Mean silhouette with the modalities as clusters; 0 or below = they overlap.

    Source: Rousseeuw, "Silhouettes: a graphical aid to the interpretation and validation of
    cluster analysis"; distances are 1 - cosine.

    Args:
        images: unit-norm float[N, D].
        texts: unit-norm float[M, D].
        seed: of the sample.

    Returns:
        Value in [-1, 1]; NaN with fewer than two rows of a modality.
    """
    from sklearn.metrics import silhouette_score

    if min(len(images), len(texts)) < 2:
        return float("nan")
    generator = np.random.default_rng(seed)
    sides = [_sample(rows, generator) for rows in (images, texts)]
    sizes = [len(side) for side in sides]
    return float(silhouette_score(np.concatenate(sides), np.repeat([0, 1], sizes), metric="cosine"))


def _sample(rows: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    return rows[generator.permutation(len(rows))[:_SAMPLE]]


def _halves(rows: np.ndarray, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    sample = _sample(rows, generator)
    middle = len(sample) // 2
    return sample[:middle], sample[middle:]
