"""Retrieval measures per query, computed from the ranks of the positives.

Two protocols say what one test item is. ``pairs``: each (query, positive) pair is an item, its
rank counts the negatives only (the other known positives are removed). ``queries``: each query
is an item, its rank is that of its best positive ("any hit", as in the image-text retrieval
literature: VSE++, ViLT, ALBEF). NDCG, mAP and AUC look at the whole list of a query under
either protocol.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from vl_models.metrics.ranking import Ranking

Protocol = Literal["pairs", "queries"]
MapDenominator = Literal["relevant", "hits", "min"]


@dataclass(frozen=True)
class PerQuery:
    """A measure as a sum and a number of items per query; its value is Σ total / Σ count.

    A query for which the measure is not defined has count 0.

    Attributes:
        total: float64[Q].
        count: float64[Q].
    """

    total: np.ndarray
    count: np.ndarray

    def values(self) -> np.ndarray:
        """Value of each query, float64[Q]; NaN where it is not defined."""
        return np.divide(
            self.total, self.count, out=np.full(len(self.total), np.nan), where=self.count > 0
        )

    def mean(self, mask: np.ndarray | None = None) -> float:
        """Value over all queries, or over those where ``mask`` bool[Q] is True; NaN if none."""
        total = self.total if mask is None else self.total[mask]
        count = self.count if mask is None else self.count[mask]
        return float(total.sum() / count.sum()) if count.sum() > 0 else float("nan")


def item_ranks(ranking: Ranking, protocol: Protocol) -> tuple[np.ndarray, np.ndarray]:
    """Query row and 1-based rank of every test item, both int64[items]."""
    if protocol == "pairs":
        return ranking.query, ranking.filtered_rank
    if protocol == "queries":
        # Rows are ordered by query and score: the first of a query is its best.
        first = np.searchsorted(ranking.query, np.unique(ranking.query))
        return ranking.query[first], ranking.filtered_rank[first]
    raise ValueError(f"The protocol is 'pairs' or 'queries'. Received: protocol={protocol!r}")


def recall_at_k(ranking: Ranking, k: int, protocol: Protocol = "pairs") -> PerQuery:
    """R@K: the share of test items whose rank is at most ``k``."""
    query, rank = item_ranks(ranking, protocol)
    return _over_items(query, rank <= k, ranking.num_queries)


def reciprocal_rank(ranking: Ranking, protocol: Protocol = "pairs") -> PerQuery:
    """MRR: the mean of 1 / rank."""
    query, rank = item_ranks(ranking, protocol)
    return _over_items(query, 1.0 / rank, ranking.num_queries)


def median_rank(ranking: Ranking, protocol: Protocol = "pairs") -> float:
    """Median of the ranks of the test items; the mean of the middle two if even. NaN if none."""
    rank = item_ranks(ranking, protocol)[1]
    return float(np.median(rank)) if len(rank) else float("nan")


def ndcg_at_k(ranking: Ranking, k: int) -> PerQuery:
    """NDCG@K with linear gains and log2(1 + rank) discounts (Järvelin and Kekäläinen 2002).

    The ideal list holds the query's counted positives by descending gain. Not defined for a
    query whose gains are all 0.
    """
    discounted = ranking.gain / np.log2(1.0 + ranking.list_rank)
    found = _sum_by_query(ranking, np.where(ranking.list_rank <= k, discounted, 0.0))
    order = np.lexsort((-ranking.gain, ranking.query))
    place = _place_in_query(ranking)
    ideal_gain = ranking.gain[order] / np.log2(1.0 + place)
    ideal = _sum_by_query(ranking, np.where(place <= k, ideal_gain, 0.0))
    defined = ideal > 0
    return PerQuery(
        np.divide(found, ideal, out=np.zeros_like(found), where=defined), defined.astype(float)
    )


def average_precision(
    ranking: Ranking, k: int | None = None, denominator: MapDenominator = "relevant"
) -> PerQuery:
    """AP of each query: Σ over hits at rank r ≤ k of precision(r), over a denominator.

    Args:
        ranking: ranks of the positives.
        k: cut-off; None ranks the whole gallery.
        denominator: ``relevant``: all R positives (SSAH, TFNH); ``hits``: the positives within
            the cut-off (DSCMR, ACMR code; 0 if none); ``min``: min(R, k). Equal where k is None.

    Raises:
        ValueError: an unknown denominator.
    """
    inside = np.ones(len(ranking.query), bool) if k is None else ranking.list_rank <= k
    place = _place_in_query(ranking)
    total = _sum_by_query(ranking, np.where(inside, place / ranking.list_rank, 0.0))
    relevant = _sum_by_query(ranking, np.ones(len(ranking.query)))
    if denominator == "relevant":
        divisor = relevant
    elif denominator == "hits":
        divisor = _sum_by_query(ranking, inside.astype(float))
    elif denominator == "min":
        divisor = relevant if k is None else np.minimum(relevant, k)
    else:
        raise ValueError(
            "The denominator of AP is 'relevant', 'hits' or 'min'. "
            f"Received: denominator={denominator!r}"
        )
    value = np.divide(total, divisor, out=np.zeros_like(total), where=divisor > 0)
    return PerQuery(value, (relevant > 0).astype(float))


def area_under_curve(ranking: Ranking) -> PerQuery:
    """AUC: probability that a counted positive scores above a negative of its query (ties half).

    Each query is the mean over its positives. Not defined where every item is a known positive.
    """
    has_negatives = ranking.num_negatives > 0
    beaten = ranking.num_negatives - ranking.above - 0.5 * ranking.tied
    value = beaten / np.maximum(ranking.num_negatives, 1)
    positives = _sum_by_query(ranking, has_negatives.astype(float))
    total = _sum_by_query(ranking, np.where(has_negatives, value, 0.0))
    return PerQuery(
        np.divide(total, positives, out=np.zeros_like(total), where=positives > 0),
        (positives > 0).astype(float),
    )


def _place_in_query(ranking: Ranking) -> np.ndarray:
    """1-based number of each row among the rows of its query."""
    return np.arange(len(ranking.query)) - np.searchsorted(ranking.query, ranking.query) + 1


def _sum_by_query(ranking: Ranking, values: np.ndarray) -> np.ndarray:
    return np.bincount(ranking.query, weights=values, minlength=ranking.num_queries)


def _over_items(query: np.ndarray, values: np.ndarray, num_queries: int) -> PerQuery:
    return PerQuery(
        np.bincount(query, weights=values.astype(float), minlength=num_queries),
        np.bincount(query, minlength=num_queries).astype(float),
    )
