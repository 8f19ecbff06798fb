"""Ranks of the counted positives among the negatives, the one thing all measures need.

Ties are pessimistic: a negative with the same score stands above the positive. Ranks then do
not depend on the order of the gallery, and a model that gives one embedding for everything
gets the worst ranks instead of perfect ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from vl_models.metrics.judgements import Judgements

# A float32 matrix product gives equal vectors scores that differ in the last bits, depending
# on where they stand in a block. Cosine similarities this close are the same.
COSINE_TIE_TOLERANCE = 1e-6

# 2^24 float32 scores are 64 MiB.
MAX_BLOCK_ELEMENTS = 2**24


@dataclass(frozen=True)
class Ranking:
    """One row per counted positive, ordered by query, then from best to worst score.

    Attributes:
        query: int64[P], row of the query.
        item: int64[P], row of the item.
        gain: float64[P], graded relevance.
        above: int64[P], negatives with a higher score.
        tied: int64[P], negatives with the same score.
        filtered_rank: int64[P], 1-based rank among the negatives alone.
        list_rank: int64[P], 1-based rank among the negatives and the counted positives.
        num_negatives: int64[P], items that are no known positive of the query.
        num_queries: number of query rows.
    """

    query: np.ndarray
    item: np.ndarray
    gain: np.ndarray
    above: np.ndarray
    tied: np.ndarray
    filtered_rank: np.ndarray
    list_rank: np.ndarray
    num_negatives: np.ndarray
    num_queries: int


def rank_scores(scores: np.ndarray, judgements: Judgements, tie_tolerance: float = 0.0) -> Ranking:
    """Rank the counted positives by a full score matrix.

    Args:
        scores: float[Q, N], higher is better; not changed.
        judgements: of Q queries.
        tie_tolerance: scores no further apart than this are the same.

    Raises:
        ValueError: a score of a query with a counted positive is not finite, or shapes do not
            fit.
    """
    scores = np.asarray(scores)
    if not np.issubdtype(scores.dtype, np.floating):
        scores = scores.astype(np.float64)
    return rank_blocks(lambda rows: scores[rows], scores.shape, judgements, tie_tolerance)


def rank_embeddings(
    queries: np.ndarray,
    items: np.ndarray,
    judgements: Judgements,
    max_block_elements: int = MAX_BLOCK_ELEMENTS,
) -> Ranking:
    """Rank the counted positives by inner product, in blocks of the queries that have some.

    Args:
        queries: float32[Q, D], unit norm.
        items: float32[N, D], unit norm.
        judgements: of Q queries.
        max_block_elements: scores held at once (at least one row of N).

    Raises:
        ValueError: a score of a query with a counted positive is not finite, or shapes do not
            fit.
    """
    shape = (len(queries), len(items))
    transposed = np.ascontiguousarray(np.asarray(items).T)
    return rank_blocks(
        lambda rows: queries[rows] @ transposed,
        shape,
        judgements,
        COSINE_TIE_TOLERANCE,
        max_block_elements,
    )


def rank_blocks(
    score_block: Callable[[np.ndarray], np.ndarray],
    shape: tuple[int, ...],
    judgements: Judgements,
    tie_tolerance: float,
    max_block_elements: int = MAX_BLOCK_ELEMENTS,
) -> Ranking:
    """Rank the counted positives by scores that are made block by block.

    Args:
        score_block: rows int64[B] of queries that have a counted positive, to float[B, N], which
            is overwritten.
        shape: Q and N.
        judgements: of Q queries.
        tie_tolerance: scores no further apart than this are the same.
        max_block_elements: scores held at once (at least one row of N).

    Raises:
        ValueError: a score is not finite, or shapes do not fit.
    """
    num_queries, num_items = shape
    if judgements.num_queries != num_queries:
        raise ValueError(
            "Judgements and scores must have the same number of queries. "
            f"Received: judgements.num_queries={judgements.num_queries}, scores={num_queries}"
        )
    if len(judgements.item) and not 0 <= judgements.item.min() <= judgements.item.max() < num_items:
        raise ValueError(
            f"Item rows must lie in [0, {num_items}). "
            f"Received: item={judgements.item.min()}..{judgements.item.max()}"
        )
    # Rows without a counted positive are not scored: of a big gallery that is nearly all.
    ranked = np.unique(judgements.query[judgements.counted])
    ranking = _rank_rows(
        lambda start, stop: score_block(ranked[start:stop]),
        ranked,
        num_items,
        _of_queries(judgements, ranked),
        tie_tolerance,
        max(1, max_block_elements // max(1, num_items)),
    )
    return replace(ranking, query=ranked[ranking.query], num_queries=num_queries)


def _of_queries(judgements: Judgements, rows: np.ndarray) -> Judgements:
    """Return the judgements of the queries ``rows`` (ascending), which become 0, 1, …"""
    keep = np.isin(judgements.query, rows)
    return Judgements(
        query=np.searchsorted(rows, judgements.query[keep]),
        item=judgements.item[keep],
        gain=judgements.gain[keep],
        counted=judgements.counted[keep],
        num_queries=len(rows),
    )


def _rank_rows(
    score_block: Callable[[int, int], np.ndarray],
    names: np.ndarray,
    num_items: int,
    judgements: Judgements,
    tie_tolerance: float,
    rows_per_block: int,
) -> Ranking:
    """Rank queries that all have a counted positive; errors call row i ``names[i]``."""
    num_queries = judgements.num_queries
    bounds = np.searchsorted(judgements.query, np.arange(num_queries + 1))
    above = np.zeros(len(judgements.query), np.int64)
    tied = np.zeros(len(judgements.query), np.int64)
    score = np.zeros(len(judgements.query), np.float64)
    for start in range(0, num_queries, rows_per_block):
        stop = min(start + rows_per_block, num_queries)
        block = score_block(start, stop)
        if not np.isfinite(block).all():
            row = names[start + np.flatnonzero(~np.isfinite(block).all(axis=1))[0]]
            raise ValueError(f"Scores must be finite. Received: NaN or infinity in query row {row}")
        entries = slice(bounds[start], bounds[stop])
        rows = judgements.query[entries] - start
        known = block[rows, judgements.item[entries]]
        score[entries] = known
        # Known positives sink to the bottom: only negatives are left to be counted.
        block[rows, judgements.item[entries]] = -np.inf
        block.sort(axis=1)
        for row in range(stop - start):
            mine = slice(bounds[start + row], bounds[start + row + 1])
            wanted = known[mine.start - entries.start : mine.stop - entries.start]
            higher = num_items - np.searchsorted(block[row], wanted + tie_tolerance, "right")
            above[mine] = higher
            tied[mine] = (
                num_items - np.searchsorted(block[row], wanted - tie_tolerance, "left") - higher
            )
    negatives = num_items - np.diff(bounds)
    return _ordered(judgements, above, tied, score, negatives)


def _ordered(
    judgements: Judgements,
    above: np.ndarray,
    tied: np.ndarray,
    score: np.ndarray,
    negatives: np.ndarray,
) -> Ranking:
    """Order the counted positives by query and score, and number them within the list."""
    keep = np.flatnonzero(judgements.counted)
    # Among positives of equal score the smallest gain comes first: pessimistic here too.
    order = keep[np.lexsort((judgements.gain[keep], -score[keep], judgements.query[keep]))]
    query = judgements.query[order]
    filtered = above[order] + tied[order] + 1
    first = np.searchsorted(query, query)
    return Ranking(
        query=query,
        item=judgements.item[order],
        gain=judgements.gain[order],
        above=above[order],
        tied=tied[order],
        filtered_rank=filtered,
        list_rank=filtered + np.arange(len(query)) - first,
        num_negatives=negatives[query],
        num_queries=judgements.num_queries,
    )
