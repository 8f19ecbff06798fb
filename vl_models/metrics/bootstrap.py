"""Percentile bootstrap over queries (Efron and Tibshirani 1993, chapter 13).

Queries are resampled, not pairs: the pairs of one query are not independent. All statistics
of one call see the same resamples.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

# Resampled counts held at once: 2^22 float64 are 32 MiB.
_MAX_CHUNK_ELEMENTS = 2**22


class Interval(NamedTuple):
    """A confidence interval."""

    low: float
    high: float


def resampled_counts(num_queries: int, samples: int, seed: int) -> Iterator[np.ndarray]:
    """How often each query occurs in each resample, in chunks float64[chunk, num_queries].

    Each row is a draw of ``num_queries`` queries with replacement and adds up to it.
    """
    generator = np.random.default_rng(seed)
    chunk = max(1, _MAX_CHUNK_ELEMENTS // max(1, num_queries))
    for start in range(0, samples, chunk):
        rows = min(chunk, samples - start)
        drawn = generator.integers(num_queries, size=(rows, num_queries))
        drawn += np.arange(rows)[:, None] * num_queries
        counts = np.bincount(drawn.ravel(), minlength=rows * num_queries)
        yield counts.reshape(rows, num_queries).astype(np.float64)


def ratio_draws(
    totals: np.ndarray, counts: np.ndarray, samples: int = 1000, seed: int = 0
) -> np.ndarray:
    """Resampled values of the ratios Σ total / Σ count of M statistics.

    Args:
        totals: float[Q, M], sums per query.
        counts: float[Q, M], number of items per query (0 where undefined).
        samples: number of resamples.
        seed: of the resampling.

    Returns:
        float64[samples, M]; NaN where a resample holds no item of a statistic.
    """
    draws = []
    for weights in resampled_counts(len(totals), samples, seed):
        count = weights @ counts
        draws.append(
            np.divide(weights @ totals, count, out=np.full_like(count, np.nan), where=count > 0)
        )
    return np.concatenate(draws)


def median_draws(
    query: np.ndarray,
    rank: np.ndarray,
    num_queries: int,
    samples: int = 1000,
    seed: int = 0,
) -> np.ndarray:
    """Resampled medians of the ranks of items that belong to queries.

    Args:
        query: int[items], row of the query of each item.
        rank: int or float[items].
        num_queries: number of query rows.
        samples: number of resamples.
        seed: of the resampling.

    Returns:
        float64[samples]; NaN where a resample holds no item.
    """
    order = np.argsort(rank, kind="stable")
    owner, ordered = query[order], np.asarray(rank, np.float64)[order]
    medians = []
    for weights in resampled_counts(num_queries, samples, seed):
        cumulative = np.cumsum(weights[:, owner], axis=1)
        for row in cumulative:
            if not len(row) or row[-1] == 0:
                medians.append(np.nan)
                continue
            lower = np.searchsorted(row, row[-1] / 2, "left")
            upper = np.searchsorted(row, row[-1] / 2, "right")
            medians.append((ordered[lower] + ordered[upper]) / 2)
    return np.asarray(medians)


def percentile_interval(draws: np.ndarray, confidence: float = 0.95) -> Interval:
    """Central interval of resampled values float[samples]; NaN draws are left out.

    Returns:
        The (1 - confidence) / 2 and (1 + confidence) / 2 quantiles; NaN if no draw is defined.
    """
    draws = draws[~np.isnan(draws)]
    if not len(draws):
        return Interval(float("nan"), float("nan"))
    low, high = np.quantile(draws, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(low), float(high))
