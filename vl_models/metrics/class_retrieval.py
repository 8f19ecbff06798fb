"""Retrieval across modalities by class: an item is relevant if it shares a label with the query.

The evaluation of the common-space and hashing literature. Every query ranks the whole gallery;
items of equal score keep the gallery's order (a stable sort), which matters for Hamming
distances, where ties are the rule.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from vl_models.metrics.retrieval import MapDenominator

# Recall levels of the precision-recall curve.
RECALL_LEVELS = np.linspace(0.0, 1.0, 21)

_BLOCK = 256


@dataclass(frozen=True)
class ClassRetrieval:
    """Measures of one direction.

    Attributes:
        average_precision: per cut-off (None = the whole gallery) float64[Q]; 0 for a query
            without relevant items.
        auc: float64[Q], the probability that a relevant item ranks before an irrelevant one; NaN
            where there are not both.
        precision: float64[21], mean over the queries that have relevant items of the best
            precision at or beyond each of `RECALL_LEVELS`.
    """

    average_precision: dict[int | None, np.ndarray]
    auc: np.ndarray
    precision: np.ndarray

    def mean_average_precision(self, k: int | None = None) -> float:
        """mAP at a cut-off that was asked for."""
        return float(self.average_precision[k].mean())


def class_retrieval(
    similarity: Callable[[slice], np.ndarray],
    query_labels: np.ndarray,
    gallery_labels: np.ndarray,
    cut_offs: Sequence[int | None] = (None,),
    denominator: MapDenominator = "relevant",
) -> ClassRetrieval:
    """Rank the gallery for every query.

    Args:
        similarity: rows of queries to their scores [q, N] with all gallery items.
        query_labels: bool[Q, C], multi-hot.
        gallery_labels: bool[N, C].
        cut_offs: k of each average precision.
        denominator: of average precision at a cut-off: all relevant items R, those within the
            cut-off ("hits"; DSCMR's and ACMR's code), or min(R, k). All are R without a cut-off.
    """
    queries = len(query_labels)
    precisions: dict[int | None, list[np.ndarray]] = {k: [] for k in cut_offs}
    aucs, curve, curves = [], np.zeros(len(RECALL_LEVELS)), 0
    for start in range(0, queries, _BLOCK):
        rows = slice(start, min(start + _BLOCK, queries))
        relevant = query_labels[rows].astype(np.float32) @ gallery_labels.T.astype(np.float32) > 0
        order = np.argsort(-similarity(rows), axis=1, kind="stable")
        relevant = np.take_along_axis(relevant, order, axis=1)
        hits = np.cumsum(relevant, axis=1)
        precision = hits / np.arange(1, relevant.shape[1] + 1)
        for k in cut_offs:
            precisions[k].append(_average_precision(relevant, hits, precision, k, denominator))
        aucs.append(_auc(relevant, hits))
        curve += _curve_sum(hits, precision)
        curves += int((hits[:, -1] > 0).sum())
    return ClassRetrieval(
        {k: np.concatenate(parts) for k, parts in precisions.items()},
        np.concatenate(aucs),
        curve / max(curves, 1),
    )


def cosine_similarity(queries: np.ndarray, gallery: np.ndarray) -> Callable[[slice], np.ndarray]:
    """Scores of unit-norm float[Q, D] and [N, D]."""
    return lambda rows: queries[rows] @ gallery.T


def _average_precision(
    relevant: np.ndarray,
    hits: np.ndarray,
    precision: np.ndarray,
    k: int | None,
    denominator: MapDenominator,
) -> np.ndarray:
    total = (precision[:, :k] * relevant[:, :k]).sum(axis=1)
    divisor = hits[:, -1]
    if k is not None and denominator == "hits":
        divisor = hits[:, :k][:, -1]
    elif k is not None and denominator == "min":
        divisor = np.minimum(divisor, k)
    return np.divide(total, divisor, out=np.zeros_like(total), where=divisor > 0)


def _auc(relevant: np.ndarray, hits: np.ndarray) -> np.ndarray:
    wanted = hits[:, -1].astype(float)
    others = relevant.shape[1] - wanted
    # Irrelevant items before a relevant one at rank r, which is the h-th: r - h.
    before = np.where(relevant, np.arange(1, relevant.shape[1] + 1) - hits, 0).sum(axis=1)
    pairs = wanted * others
    share = np.divide(before, pairs, out=np.full(len(pairs), np.nan), where=pairs > 0)
    return 1.0 - share


def _curve_sum(hits: np.ndarray, precision: np.ndarray) -> np.ndarray:
    """Interpolated precision at each recall level, summed over the queries."""
    has_any = hits[:, -1] > 0
    hits, precision = hits[has_any], precision[has_any]
    best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    values = np.zeros(len(RECALL_LEVELS))
    for place, level in enumerate(RECALL_LEVELS):
        needed = np.maximum(np.ceil(level * hits[:, -1] - 1e-9), 1)
        first = (hits >= needed[:, None]).argmax(axis=1)
        values[place] = best[np.arange(len(best)), first].sum()
    return values
