"""Which items are right for which query, and which of them an evaluation counts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Judgements:
    """Known positives of ``num_queries`` queries, sorted by (query, item), each pair once.

    A *counted* positive is searched for and scored. A positive that is not counted (a click
    of another split) is only taken out of the ranking: it neither helps nor hurts. This is
    the filtered protocol of link prediction (Bordes et al. 2013, section 4.2).

    Attributes:
        query: int64[E], row of the query.
        item: int64[E], row of the item.
        gain: float64[E], graded relevance (clicks or weights) for NDCG.
        counted: bool[E].
        num_queries: number of query rows; a query need not have a positive.
    """

    query: np.ndarray
    item: np.ndarray
    gain: np.ndarray
    counted: np.ndarray
    num_queries: int

    @classmethod
    def from_pairs(
        cls,
        query: np.ndarray,
        item: np.ndarray,
        num_queries: int,
        gain: np.ndarray | None = None,
        counted: np.ndarray | None = None,
    ) -> Judgements:
        """Build from unordered pairs; a pair given twice is merged.

        Args:
            query: int[E], row of the query, below ``num_queries``.
            item: int[E], row of the item.
            num_queries: number of query rows.
            gain: float[E], default 1. Merged pairs add up the gains of their counted entries.
            counted: bool[E], default all. A merged pair counts if any of its entries does.

        Raises:
            ValueError: a query row is out of range.
        """
        query = np.asarray(query, np.int64)
        item = np.asarray(item, np.int64)
        gain = np.ones(len(query)) if gain is None else np.asarray(gain, np.float64)
        counted = np.ones(len(query), bool) if counted is None else np.asarray(counted, bool)
        if len(query) and not 0 <= query.min() <= query.max() < num_queries:
            raise ValueError(
                f"Query rows must lie in [0, {num_queries}). "
                f"Received: query={query.min()}..{query.max()}"
            )
        order = np.lexsort((item, query))
        query, item, gain, counted = query[order], item[order], gain[order], counted[order]
        new = np.ones(len(query), bool)
        new[1:] = (query[1:] != query[:-1]) | (item[1:] != item[:-1])
        starts = np.flatnonzero(new)
        if len(starts) < len(query):
            gain = np.add.reduceat(np.where(counted, gain, 0.0), starts)
            counted = np.logical_or.reduceat(counted, starts)
            query, item = query[starts], item[starts]
        return cls(query, item, gain, counted, num_queries)
