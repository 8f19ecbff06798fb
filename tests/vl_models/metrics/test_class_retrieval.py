import numpy as np
import pytest

from vl_models.metrics.class_retrieval import class_retrieval, cosine_similarity


def ranked(relevance, cut_offs=(None,), denominator="relevant"):
    """One query whose gallery is ranked in this order of relevance."""
    scores = -np.arange(len(relevance), dtype=float)[None]
    gallery = np.array(relevance, bool)[:, None]
    return class_retrieval(
        lambda rows: scores[rows], np.ones((1, 1)), gallery, cut_offs, denominator
    )


def test_golden_values_in_every_variant(golden):
    toy = golden["map"]
    found = ranked(toy["rel"], (None, 3), "hits")
    assert found.mean_average_precision() == pytest.approx(toy["AP@all"], abs=1e-6)
    hits = "AP@3 (hits-in-top-k denominator; ACMR/DSCMR code)"
    assert found.mean_average_precision(3) == pytest.approx(toy[hits], abs=1e-6)
    smaller = ranked(toy["rel"], (3,), "min").mean_average_precision(3)
    assert smaller == pytest.approx(toy["AP@3 (min(R,k) denominator)"], abs=1e-6)
    assert ranked(toy["rel"], (3,)).mean_average_precision(3) == pytest.approx((1 + 2 / 3) / 4)


def test_one_shared_label_of_several_is_enough():
    scores = np.array([[3.0, 2.0, 1.0]])
    queries = np.array([[1, 1, 0]], bool)
    gallery = np.array([[0, 0, 1], [0, 1, 1], [1, 0, 0]], bool)
    found = class_retrieval(lambda rows: scores[rows], queries, gallery)
    assert found.mean_average_precision() == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert found.auc[0] == 0.0


def test_a_query_without_relevant_items_counts_as_zero():
    scores = np.array([[2.0, 1.0], [2.0, 1.0]])
    queries = np.array([[1, 0], [0, 1]], bool)
    gallery = np.array([[1, 0], [1, 0]], bool)
    found = class_retrieval(lambda rows: scores[rows], queries, gallery)
    assert found.average_precision[None].tolist() == [1.0, 0.0]
    assert np.isnan(found.auc).all()


def test_ties_keep_the_order_of_the_gallery():
    found = class_retrieval(
        lambda rows: np.zeros((1, 3)), np.ones((1, 1)), np.array([[0], [1], [1]], bool)
    )
    assert found.mean_average_precision() == pytest.approx((1 / 2 + 2 / 3) / 2)


def test_curve_is_the_interpolated_precision():
    perfect = ranked([1, 1, 0, 0])
    np.testing.assert_allclose(perfect.precision, 1.0)
    worst = ranked([0, 0, 1, 1])
    np.testing.assert_allclose(worst.precision, 0.5)
    mixed = ranked([1, 0, 1])
    np.testing.assert_allclose(mixed.precision[:11], 1.0)
    np.testing.assert_allclose(mixed.precision[11:], 2 / 3)


def test_blocks_do_not_matter_and_auc_is_the_share_of_pairs_in_order():
    generator = np.random.default_rng(0)
    queries, gallery = generator.normal(size=(300, 4)), generator.normal(size=(50, 4))
    query_labels = np.eye(3, dtype=bool)[generator.integers(3, size=300)]
    gallery_labels = np.eye(3, dtype=bool)[generator.integers(3, size=50)]
    scores = cosine_similarity(queries, gallery)
    found = class_retrieval(scores, query_labels, gallery_labels, (None, 10))
    for row in (0, 255, 256, 299):
        one = slice(row, row + 1)
        alone = class_retrieval(
            lambda rows, one=one: scores(one), query_labels[one], gallery_labels, (None, 10)
        )
        assert alone.average_precision[10][0] == found.average_precision[10][row]
        relevant = (query_labels[row] @ gallery_labels.T).astype(bool)
        values = scores(one)[0]
        above = values[relevant][:, None] > values[~relevant][None]
        assert found.auc[row] == pytest.approx(above.mean())
