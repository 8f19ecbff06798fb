import time

import numpy as np
import pytest

from tfx_pipeline.evaluation.config import EvaluationConfig
from tfx_pipeline.evaluation.measures import (
    per_query_measures,
    summarise,
    summarise_differences,
)
from vl_models.metrics.judgements import Judgements
from vl_models.metrics.ranking import rank_embeddings, rank_scores


def test_summary_of_a_slice_is_that_of_its_queries_alone():
    generator = np.random.default_rng(0)
    scores = generator.normal(size=(20, 30))
    query, item = np.repeat(np.arange(20), 3), generator.integers(30, size=60)
    config = EvaluationConfig(bootstrap={"samples": 30})
    whole = rank_scores(scores, Judgements.from_pairs(query, item, 20))
    mask = np.arange(20) % 2 == 0
    part = rank_scores(
        scores[mask], Judgements.from_pairs(query[mask[query]] // 2, item[mask[query]], 10)
    )
    assert summarise(whole, per_query_measures(whole, config), config, mask) == summarise(
        part, per_query_measures(part, config), config
    )


def test_queries_without_a_positive_do_not_change_the_intervals():
    generator = np.random.default_rng(1)
    scores = generator.normal(size=(12, 30))
    query, item = np.arange(12), generator.integers(30, size=12)
    config = EvaluationConfig(bootstrap={"samples": 30})
    alone = rank_scores(scores, Judgements.from_pairs(query, item, 12))
    spread = np.zeros((500, 30))
    spread[40 * query] = scores
    among = rank_scores(spread, Judgements.from_pairs(40 * query, item, 500))
    assert summarise(among, per_query_measures(among, config), config) == summarise(
        alone, per_query_measures(alone, config), config
    )


def test_slice_without_a_positive_is_undefined():
    ranking = rank_scores(np.ones((2, 3)), Judgements.from_pairs([0], [1], 2))
    config = EvaluationConfig(bootstrap={"samples": 4})
    mask = np.array([False, True])
    for value, interval in summarise(
        ranking, per_query_measures(ranking, config), config, mask
    ).values():
        assert np.isnan([value, *interval]).all()


def test_differences_are_of_the_same_queries_and_a_slice_by_itself():
    generator = np.random.default_rng(2)
    query, item = np.repeat(np.arange(20), 2), generator.integers(30, size=40)
    config = EvaluationConfig(bootstrap={"samples": 30})

    def measures(scores, rows):
        inside = np.isin(query, rows)
        judged = Judgements.from_pairs(
            np.searchsorted(rows, query[inside]), item[inside], len(rows)
        )
        return per_query_measures(rank_scores(scores[rows], judged), config)

    one, other = generator.normal(size=(2, 20, 30))
    everything, even = np.arange(20), np.arange(0, 20, 2)
    before, after = measures(one, everything), measures(other, everything)
    found = summarise_differences(before, after, config, everything % 2 == 0)
    assert found == summarise_differences(measures(one, even), measures(other, even), config)
    for name, (value, interval) in found.items():
        expected = after[name].mean(everything % 2 == 0) - before[name].mean(everything % 2 == 0)
        assert value == pytest.approx(expected)
        assert interval.low <= value <= interval.high
    assert found["mrr"][1].low < found["mrr"][1].high
    same = summarise_differences(before, before, config)
    assert set(same.values()) == {(0.0, (0.0, 0.0))}


@pytest.mark.slow
def test_five_thousand_queries_on_twenty_thousand_images_in_seconds():
    generator = np.random.default_rng(0)
    queries, items = (
        generator.normal(size=(rows, 256)).astype(np.float32) for rows in (5000, 20000)
    )
    for vectors in (queries, items):
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    query, item = np.repeat(np.arange(5000), 4), generator.integers(20000, size=20000)
    config = EvaluationConfig()
    start = time.monotonic()
    for sides, judgements in (
        ((queries, items), Judgements.from_pairs(query, item, 5000)),
        ((items, queries), Judgements.from_pairs(item, query, 20000)),
    ):
        ranking = rank_embeddings(*sides, judgements)
        summarise(ranking, per_query_measures(ranking, config), config)
    assert time.monotonic() - start < 20
