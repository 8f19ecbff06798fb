"""Measures of one direction: values, slices and intervals from a ranking."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tfx_pipeline.evaluation.config import EvaluationConfig
from tfx_pipeline.evaluation.metric_keys import MEDIAN_RANK, measure_names, paired_names
from vl_models.metrics.bootstrap import (
    Interval,
    median_draws,
    percentile_interval,
    ratio_draws,
)
from vl_models.metrics.ranking import Ranking
from vl_models.metrics.retrieval import (
    PerQuery,
    area_under_curve,
    average_precision,
    item_ranks,
    ndcg_at_k,
    recall_at_k,
    reciprocal_rank,
)


def per_query_measures(ranking: Ranking, config: EvaluationConfig) -> dict[str, PerQuery]:
    """Every measure that is a mean, per query; the median rank is none."""
    protocol = config.protocol
    measures = {f"recall@{k}": recall_at_k(ranking, k, protocol) for k in config.ks}
    measures["mrr"] = reciprocal_rank(ranking, protocol)
    measures.update({f"ndcg@{k}": ndcg_at_k(ranking, k) for k in config.ks})
    cut_off = "all" if config.map_k is None else str(config.map_k)
    measures[f"map@{cut_off}"] = average_precision(ranking, config.map_k, config.map_denominator)
    measures["auc"] = area_under_curve(ranking)
    return measures


def summarise(
    ranking: Ranking,
    measures: Mapping[str, PerQuery],
    config: EvaluationConfig,
    mask: np.ndarray | None = None,
) -> dict[str, tuple[float, Interval]]:
    """Value and bootstrap interval of every measure, over all queries or those of ``mask``.

    Only queries with a counted positive are resampled, a slice within itself: their number is
    the same in every resample.
    """
    has_item = np.bincount(ranking.query, minlength=ranking.num_queries) > 0
    mask = has_item if mask is None else mask & has_item
    options = {"samples": config.bootstrap.samples, "seed": config.bootstrap.seed}
    draws = ratio_draws(
        np.stack([measure.total[mask] for measure in measures.values()], axis=1),
        np.stack([measure.count[mask] for measure in measures.values()], axis=1),
        **options,
    )
    result = {
        name: (measure.mean(mask), percentile_interval(column, config.bootstrap.confidence))
        for (name, measure), column in zip(measures.items(), draws.T)
    }
    query, rank = item_ranks(ranking, config.protocol)
    inside = mask[query]
    renumbered = np.cumsum(mask) - 1
    medians = median_draws(renumbered[query[inside]], rank[inside], int(mask.sum()), **options)
    median = float(np.median(rank[inside])) if inside.any() else float("nan")
    result[MEDIAN_RANK] = (median, percentile_interval(medians, config.bootstrap.confidence))
    return {name: result[name] for name in measure_names(config)}


def summarise_differences(
    before: Mapping[str, PerQuery],
    after: Mapping[str, PerQuery],
    config: EvaluationConfig,
    mask: np.ndarray | None = None,
) -> dict[str, tuple[float, Interval]]:
    """After less before of the measures that are paired, with bootstrap intervals over queries.

    Both values of a query are drawn together, so that an interval is that of the gain, whatever
    the queries differ in. As in `summarise`, a slice is resampled within itself.

    Args:
        before: measures per query, with those of `paired_names`.
        after: those of another ranking for the same judgements.
        config: of the evaluation.
        mask: bool[Q], the queries that count; all by default.
    """
    names = paired_names(config)
    counts = np.stack([before[name].count for name in names], axis=1)
    gained = np.stack([after[name].total - before[name].total for name in names], axis=1)
    drawn = np.any(counts > 0, axis=1)
    if mask is not None:
        drawn &= mask
    draws = ratio_draws(
        gained[drawn], counts[drawn], config.bootstrap.samples, config.bootstrap.seed
    )
    return {
        name: (
            PerQuery(total, count).mean(drawn),
            percentile_interval(column, config.bootstrap.confidence),
        )
        for name, total, count, column in zip(names, gained.T, counts.T, draws.T, strict=True)
    }
