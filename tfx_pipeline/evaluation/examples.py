"""Queries to look at: a random choice over the languages, and the worst ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from tfx_pipeline.evaluation.config import EvaluationConfig
from tfx_pipeline.evaluation.encoded_data import EncodedData
from tfx_pipeline.evaluation.result import Example, JudgedHit
from vl_models.metrics.ranking import Ranking


def pick_examples(
    data: EncodedData, ranking: Ranking | None, config: EvaluationConfig
) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    """Random queries and failures, each with its first images.

    Args:
        data: what was ranked.
        ranking: text to image; None if it was not evaluated, and then there are no examples.
        config: how many of each.
    """
    if ranking is None:
        return (), ()
    seed, report = config.bootstrap.seed, config.report
    evaluated = np.unique(ranking.query)
    random = choose_random(data.relevance.languages, evaluated, report.queries, seed)
    worst = choose_failures(ranking, data.relevance.clicks, report.failures)
    return (
        tuple(_example(row, data, ranking, report.results) for row in random),
        tuple(_example(row, data, ranking, report.results) for row in worst),
    )


def choose_random(languages: Sequence[str], rows: np.ndarray, count: int, seed: int) -> list[int]:
    """At most ``count`` of ``rows`` int[n] at random, taking turns over the languages."""
    turns: Counter[str] = Counter()
    keyed = []
    for row in np.random.default_rng(seed).permutation(rows):
        language = languages[row]
        keyed.append((turns[language], language, int(row)))
        turns[language] += 1
    return [row for _, _, row in sorted(keyed)[:count]]


def choose_failures(ranking: Ranking, clicks: np.ndarray, count: int) -> list[int]:
    """Rows of the queries whose best correct image stands lowest; more clicks first if equal.

    A query that finds a correct image first is no failure.
    """
    rows, first = np.unique(ranking.query, return_index=True)
    best = ranking.filtered_rank[first]
    rows, best = rows[best > 1], best[best > 1]
    return [int(row) for row in rows[np.lexsort((rows, -clicks[rows], -best))][:count]]


def _example(row: int, data: EncodedData, ranking: Ranking, results: int) -> Example:
    scores = data.images @ data.texts[row]
    judgements = data.judgements["text_to_image"]
    mine = judgements.query == row
    marks = {
        int(item): "correct" if counted else "known"
        for item, counted in zip(judgements.item[mine], judgements.counted[mine])
    }

    def hit(item: int) -> JudgedHit:
        return JudgedHit(data.image_ids[item], float(scores[item]), marks.get(item, ""))

    best = int(np.searchsorted(ranking.query, row))
    return Example(
        query=data.relevance.queries[row],
        language=data.relevance.languages[row],
        rank=int(ranking.filtered_rank[best]),
        hits=tuple(hit(int(item)) for item in np.argsort(-scores, kind="stable")[:results]),
        wanted=hit(int(ranking.item[best])),
    )
