import itertools

import numpy as np
import pytest

from vl_models.metrics.judgements import Judgements
from vl_models.metrics.ranking import rank_scores
from vl_models.metrics.retrieval import (
    area_under_curve,
    average_precision,
    item_ranks,
    median_rank,
    ndcg_at_k,
    recall_at_k,
    reciprocal_rank,
)


def ranking_of(relevance, gains=None):
    """One query whose list, best first, has this relevance."""
    relevance = np.asarray(relevance)
    items = np.flatnonzero(relevance)
    scores = -np.arange(len(relevance), dtype=np.float64)[None]
    judgements = Judgements.from_pairs(np.zeros(len(items), int), items, 1, gains)
    return rank_scores(scores, judgements)


@pytest.fixture
def random_ranking():
    generator = np.random.default_rng(5)
    judgements = Judgements.from_pairs(
        generator.integers(30, size=80),
        generator.integers(50, size=80),
        30,
        gain=generator.integers(1, 5, size=80),
        counted=generator.random(80) < 0.7,
    )
    return rank_scores(generator.normal(size=(30, 50)), judgements)


def test_average_precision_golden(golden):
    toy = golden["map"]
    ranking = ranking_of(toy["rel"])
    at_all = average_precision(ranking).mean()
    assert at_all == pytest.approx(toy["AP@all"], abs=1e-7)
    hits = average_precision(ranking, 3, "hits").mean()
    assert hits == pytest.approx(toy["AP@3 (hits-in-top-k denominator; ACMR/DSCMR code)"], abs=1e-7)
    smaller = average_precision(ranking, 3, "min").mean()
    assert smaller == pytest.approx(toy["AP@3 (min(R,k) denominator)"], abs=1e-7)
    # The third convention: (1 + 2/3) over all 4 relevant items.
    assert average_precision(ranking, 3).mean() == pytest.approx(5 / 12)


@pytest.mark.parametrize("denominator", ["relevant", "hits", "min"])
def test_average_precision_bounds(denominator):
    assert average_precision(ranking_of([1, 1, 1]), None, denominator).mean() == 1.0
    assert average_precision(ranking_of([0, 0, 1]), 2, denominator).mean() == 0.0


def test_query_without_positive_is_not_defined():
    scores = np.array([[0.1, 0.9], [0.9, 0.1]])
    ranking = rank_scores(scores, Judgements.from_pairs([0], [1], 2))
    for measure in (
        recall_at_k(ranking, 1),
        recall_at_k(ranking, 1, "queries"),
        reciprocal_rank(ranking),
        ndcg_at_k(ranking, 1),
        average_precision(ranking),
        area_under_curve(ranking),
    ):
        np.testing.assert_array_equal(measure.values(), [1.0, np.nan])
        assert measure.mean() == 1.0
        assert np.isnan(measure.mean(np.array([False, True])))


def test_pairs_and_queries_protocols_by_hand():
    # Positives at places 2 and 4 of five: the negatives above them are 1 and 2.
    ranking = ranking_of([0, 1, 0, 1, 0])
    assert item_ranks(ranking, "pairs")[1].tolist() == [2, 3]
    assert item_ranks(ranking, "queries")[1].tolist() == [2]
    assert recall_at_k(ranking, 2, "pairs").mean() == 0.5
    assert recall_at_k(ranking, 2, "queries").mean() == 1.0
    assert reciprocal_rank(ranking, "pairs").mean() == pytest.approx((1 / 2 + 1 / 3) / 2)
    assert reciprocal_rank(ranking, "queries").mean() == 0.5
    assert median_rank(ranking, "pairs") == 2.5
    assert median_rank(ranking, "queries") == 2.0


def test_pairs_protocol_is_one_search_per_pair_with_the_others_removed():
    generator = np.random.default_rng(1)
    scores = generator.normal(size=(1, 30))
    clicked = [3, 8, 20]
    together = rank_scores(scores, Judgements.from_pairs([0, 0, 0], clicked, 1))
    for item in clicked:
        others = [other for other in clicked if other != item]
        kept = np.delete(np.arange(30), others)
        alone = rank_scores(
            scores[:, kept], Judgements.from_pairs([0], np.flatnonzero(kept == item), 1)
        )
        assert alone.filtered_rank[0] == together.filtered_rank[together.item == item][0]


@pytest.mark.parametrize("protocol", ["pairs", "queries"])
def test_recall_grows_with_k_to_one(random_ranking, protocol):
    recalls = [recall_at_k(random_ranking, k, protocol).mean() for k in range(1, 51)]
    assert all(low <= high for low, high in itertools.pairwise(recalls))
    assert recalls[0] < recalls[-1] == 1.0


def test_unknown_protocol_and_denominator(random_ranking):
    with pytest.raises(ValueError, match="Received: protocol='pair'"):
        recall_at_k(random_ranking, 1, "pair")
    with pytest.raises(ValueError, match="Received: denominator='all'"):
        average_precision(random_ranking, 1, "all")


def test_ndcg_closed_form():
    # Gains 1, 3, 2 at places 1, 2, 4 of four.
    ranking = ranking_of([1, 1, 0, 1], gains=[1.0, 3.0, 2.0])
    found = 1 + 3 / np.log2(3) + 2 / np.log2(5)
    ideal = 3 + 2 / np.log2(3) + 1 / np.log2(4)
    assert ndcg_at_k(ranking, 10).mean() == pytest.approx(found / ideal)
    assert ndcg_at_k(ranking, 1).mean() == pytest.approx(1 / 3)
    assert ndcg_at_k(ranking_of([1, 1, 0], gains=[5.0, 2.0]), 3).mean() == 1.0


def test_ndcg_without_gain_is_not_defined():
    assert np.isnan(ndcg_at_k(ranking_of([1, 0], gains=[0.0]), 1).mean())


def test_auc_equals_the_statistic_of_the_pairs():
    generator = np.random.default_rng(2)
    scores = generator.integers(6, size=40).astype(float)  # many ties
    clicked = generator.random(40) < 0.3
    items = np.flatnonzero(clicked)
    ranking = rank_scores(scores[None], Judgements.from_pairs(np.zeros(len(items), int), items, 1))
    by_pairs = np.mean(
        [
            (scores[p] > scores[n]) + 0.5 * (scores[p] == scores[n])
            for p in items
            for n in np.flatnonzero(~clicked)
        ]
    )
    assert area_under_curve(ranking).mean() == pytest.approx(by_pairs)


def test_auc_without_negatives_is_not_defined():
    assert np.isnan(area_under_curve(ranking_of([1, 1])).mean())


def test_masks_add_up_to_the_total(random_ranking):
    mask = np.arange(30) % 3 == 0
    measure = recall_at_k(random_ranking, 5)
    weights = [measure.count[mask].sum(), measure.count[~mask].sum()]
    parts = [measure.mean(mask), measure.mean(~mask)]
    assert np.average(parts, weights=weights) == pytest.approx(measure.mean())
