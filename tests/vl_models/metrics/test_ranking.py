import numpy as np
import pytest

from vl_models.metrics.judgements import Judgements
from vl_models.metrics.ranking import rank_embeddings, rank_scores


def unit(generator, rows, width=16):
    vectors = generator.normal(size=(rows, width)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture
def problem():
    generator = np.random.default_rng(3)
    judgements = Judgements.from_pairs(
        generator.integers(40, size=150),
        generator.integers(90, size=150),
        40,
        gain=generator.integers(1, 9, size=150),
        counted=generator.random(150) < 0.6,
    )
    return unit(generator, 40), unit(generator, 90), judgements


def brute_force(scores, judgements):
    """Filtered rank of every counted pair, by its definition."""
    ranks = {}
    for query, item, counted in zip(judgements.query, judgements.item, judgements.counted):
        if counted:
            known = set(judgements.item[judgements.query == query])
            others = [j for j in range(scores.shape[1]) if j not in known]
            ranks[query, item] = 1 + int((scores[query, others] >= scores[query, item]).sum())
    return ranks


def ranks_of(ranking):
    return {
        (query, item): rank
        for query, item, rank in zip(ranking.query, ranking.item, ranking.filtered_rank)
    }


def test_filtered_protocol_by_hand():
    # Order of the images: 3 1 0 2 4. Test clicks: 0 and 4; image 3 was clicked in training.
    scores = np.array([[0.5, 0.7, 0.3, 0.9, 0.1]])
    judgements = Judgements.from_pairs([0, 0, 0], [0, 4, 3], 1, counted=[True, True, False])
    ranking = rank_scores(scores, judgements)
    # 3 never counts, 0 does not count against 4: left are 1 above 0, and 1 and 2 above 4.
    assert ranking.item.tolist() == [0, 4]
    assert ranking.filtered_rank.tolist() == [2, 3]
    # In the list of 1 0 2 4, the two stand second and fourth.
    assert ranking.list_rank.tolist() == [2, 4]
    assert ranking.num_negatives.tolist() == [2, 2]


def test_equals_the_definition(problem):
    queries, items, judgements = problem
    ranking = rank_embeddings(queries, items, judgements)
    assert ranks_of(ranking) == brute_force(queries @ items.T, judgements)


@pytest.mark.parametrize("elements", [1, 91, 1000])
def test_blocks_equal_full(problem, elements):
    queries, items, judgements = problem
    full = rank_embeddings(queries, items, judgements)
    blocks = rank_embeddings(queries, items, judgements, max_block_elements=elements)
    for field in vars(full):
        np.testing.assert_array_equal(getattr(blocks, field), getattr(full, field), field)


def test_invariant_to_increasing_transforms(problem):
    queries, items, judgements = problem
    scores = (queries @ items.T).astype(np.float64)
    plain = rank_scores(scores, judgements)
    per_query = np.linspace(0.5, 4.0, len(queries))[:, None]
    transformed = rank_scores(np.exp(per_query * scores) + per_query, judgements)
    np.testing.assert_array_equal(transformed.filtered_rank, plain.filtered_rank)
    np.testing.assert_array_equal(transformed.list_rank, plain.list_rank)


def test_invariant_to_the_order_of_the_gallery_even_with_ties(problem):
    queries, items, judgements = problem
    items[40:80] = items[:40]  # every second image twice
    order = np.random.default_rng(0).permutation(len(items))
    position = np.argsort(order)
    permuted = Judgements.from_pairs(
        judgements.query, position[judgements.item], 40, judgements.gain, judgements.counted
    )
    before = ranks_of(rank_embeddings(queries, items, judgements))
    after = ranks_of(rank_embeddings(queries, items[order], permuted))
    assert {(q, position[i]): rank for (q, i), rank in before.items()} == after


def test_constant_embeddings_get_the_worst_ranks():
    queries = np.full((3, 7), 7**-0.5, np.float32)
    items = np.full((1000, 7), 7**-0.5, np.float32)
    ranking = rank_embeddings(queries, items, Judgements.from_pairs([0, 1, 2], [0, 500, 999], 3))
    assert ranking.filtered_rank.tolist() == [1000, 1000, 1000]
    assert ranking.above.tolist() == [0, 0, 0]


def test_tied_positives_are_listed_with_the_smallest_gain_first():
    judgements = Judgements.from_pairs([0, 0], [0, 1], 1, gain=[5.0, 2.0])
    ranking = rank_scores(np.array([[0.5, 0.5, 0.1]]), judgements)
    assert ranking.gain.tolist() == [2.0, 5.0]
    assert ranking.list_rank.tolist() == [1, 2]


def test_scores_are_not_changed(problem):
    queries, items, judgements = problem
    scores = queries @ items.T
    copy = scores.copy()
    rank_scores(scores, judgements)
    np.testing.assert_array_equal(scores, copy)


def test_not_a_number_is_refused_with_its_row():
    scores = np.ones((3, 4))
    scores[1, 2] = np.nan
    with pytest.raises(ValueError, match="NaN or infinity in query row 1"):
        rank_scores(scores, Judgements.from_pairs([0, 1], [0, 0], 3))


def test_queries_without_a_counted_positive_are_not_ranked(problem):
    queries, items, judgements = problem
    apart = 7 * np.arange(40) + 3
    many = np.full((300, 16), np.nan, np.float32)  # scoring one of these rows would raise
    many[apart] = queries
    # Row 5 has a known positive, none that counts.
    spread = Judgements.from_pairs(
        np.append(apart[judgements.query], 5),
        np.append(judgements.item, 0),
        300,
        np.append(judgements.gain, 1.0),
        np.append(judgements.counted, False),
    )
    alone, among = rank_embeddings(queries, items, judgements), rank_embeddings(many, items, spread)
    assert among.num_queries == 300
    np.testing.assert_array_equal(among.query, apart[alone.query])
    for field in vars(alone).keys() - {"query", "num_queries"}:
        np.testing.assert_array_equal(getattr(among, field), getattr(alone, field), field)


def test_without_a_counted_positive_nothing_is_ranked():
    ranking = rank_scores(np.ones((2, 4)), Judgements.from_pairs([0], [0], 2, counted=[False]))
    assert (len(ranking.query), ranking.num_queries) == (0, 2)


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match=r"judgements\.num_queries=3, scores=2"):
        rank_scores(np.ones((2, 4)), Judgements.from_pairs([0], [0], 3))
    with pytest.raises(ValueError, match=r"lie in \[0, 4\)\. Received: item=4\.\.4"):
        rank_scores(np.ones((2, 4)), Judgements.from_pairs([0], [4], 2))
