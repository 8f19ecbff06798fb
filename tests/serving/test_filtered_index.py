"""Searches of what a filter leaves, and the vectors of rows, in every kind of index."""

import numpy as np
import pytest

from serving.errors import ServingError
from serving.index import KINDS, SearchIndex, build_index, sign_bits

COUNT, DIMENSION = 2000, 32


@pytest.fixture(scope="module")
def vectors():
    """Unit vectors in clusters, which walks of a graph get lost in."""
    draw = np.random.default_rng(3)
    centres = draw.normal(size=(40, DIMENSION))
    found = centres[draw.integers(0, 40, COUNT)] + 0.3 * draw.normal(size=(COUNT, DIMENSION))
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def indexes(vectors, tmp_path_factory):
    folder = tmp_path_factory.mktemp("indexes")
    ids = [f"id-{number}" for number in range(COUNT)]
    for kind in KINDS:
        build_index(vectors, ids, ids, folder / kind, kind=kind)
    return {kind: SearchIndex.load(folder / kind) for kind in KINDS}


def nearest(kind, vectors, query, selected, k):
    """Scores of the k nearest among the selected, by comparing with all of them."""
    if kind == "binary":
        different = np.unpackbits(sign_bits(vectors) ^ sign_bits(query[None]), axis=1).sum(axis=1)
        scores = 1 - 2 * different / DIMENSION
    else:
        scores = vectors @ query
    return np.sort(scores[selected])[::-1][:k]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.005, 0.1, 0.5])
def test_what_a_filter_leaves_is_searched_exactly(indexes, vectors, kind, share):
    draw = np.random.default_rng(5)
    selected = draw.random(COUNT) < share
    if kind == "hnsw" and selected.mean() > 0.5:
        selected[np.flatnonzero(selected)[0]] = False
    queries = vectors[:20] + 0.1 * draw.normal(size=(20, DIMENSION)).astype(np.float32)
    for query, hits in zip(queries, indexes[kind].search(queries, 10, selected)):
        assert all(selected[hit.row] for hit in hits)
        expected = nearest(kind, vectors, query, selected, 10)
        np.testing.assert_allclose([hit.score for hit in hits], expected, atol=1e-5)


def test_where_most_fit_a_graph_is_walked_and_finds_nearly_all(indexes, vectors):
    selected = np.random.default_rng(6).random(COUNT) < 0.8
    found = indexes["hnsw"].search(vectors[:100], 10, selected)
    exact = indexes["flat"].search(vectors[:100], 10, selected)
    shared = [len({h.id for h in a} & {h.id for h in b}) for a, b in zip(found, exact)]
    assert all(selected[hit.row] for hits in found for hit in hits)
    assert np.mean(shared) > 9.5


@pytest.mark.parametrize("kind", KINDS)
def test_no_row_and_few_rows(indexes, vectors, kind):
    nothing = np.zeros(COUNT, bool)
    assert indexes[kind].search(vectors[:2], 5, nothing) == [[], []]
    few = nothing.copy()
    few[[7, 70, 700]] = True
    [hits] = indexes[kind].search(vectors[7:8], 5, few)
    assert hits[0].id == "id-7" and {hit.row for hit in hits} == {7, 70, 700}


@pytest.mark.parametrize("kind", KINDS)
def test_vectors_of_rows(indexes, vectors, kind):
    rows = [5, 1999, 0]
    found = indexes[kind].vectors(rows)
    expected = vectors[rows]
    if kind == "binary":  # which keeps signs alone
        expected = np.where(expected >= 0, 1, -1) / np.sqrt(DIMENSION)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    for wrong in (-1, COUNT):
        with pytest.raises(ServingError, match="The index has the rows 0 to 1999"):
            indexes[kind].vectors([wrong])
