import math

import numpy as np
import pytest

from vl_models.metrics.knn import knn_correct


def unit(degrees):
    angle = np.deg2rad(np.asarray(degrees, np.float64))
    return np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)


def one_hot(labels):
    return np.eye(max(labels) + 1, dtype=bool)[labels]


def test_two_clusters_and_a_stray():
    embeddings = unit([0, 5, 10, 90, 95, 100, 40])
    labels = one_hot([0, 0, 0, 1, 1, 1, 1])
    # The stray, of label 1, lies nearer to the rows of label 0.
    assert knn_correct(embeddings, labels, k=2).tolist() == [True] * 6 + [False]


def test_the_weight_of_a_near_neighbour_beats_two_far_ones():
    # Row 0 has one neighbour of its label at 10° and two of another at 40°: the votes are
    # exp(cos 10°/T) against 2 exp(cos 40°/T); they are equal at T = (cos 10° - cos 40°)/ln 2.
    embeddings, labels = unit([0, 10, 40, -40]), one_hot([0, 0, 1, 1])
    equal = (math.cos(math.radians(10)) - math.cos(math.radians(40))) / math.log(2)
    assert knn_correct(embeddings, labels, k=3, temperature=0.99 * equal)[0]
    assert not knn_correct(embeddings, labels, k=3, temperature=1.01 * equal)[0]


def test_one_neighbour_is_the_nearest_other_row():
    random = np.random.default_rng(0)
    embeddings = random.normal(size=(50, 6)).astype(np.float32)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    labels = random.integers(0, 3, 50)
    cosines = embeddings @ embeddings.T
    np.fill_diagonal(cosines, -2)
    np.testing.assert_array_equal(
        knn_correct(embeddings, one_hot(labels), k=1), labels[cosines.argmax(1)] == labels
    )


def test_blocks_change_nothing():
    random = np.random.default_rng(1)
    embeddings = random.normal(size=(40, 4)).astype(np.float32)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    labels = random.random((40, 3)) < 0.4
    labels[:, 0] |= ~labels.any(axis=1)
    whole = knn_correct(embeddings, labels, k=7)
    np.testing.assert_array_equal(knn_correct(embeddings, labels, 7, max_block_elements=41), whole)
    assert 0 < whole.mean() < 1


def test_a_tie_is_wrong():
    # Row 0 is equally far from one row of its label and one of another.
    assert not knn_correct(unit([0, 20, -20]), one_hot([0, 0, 1]), k=2)[0]


def test_any_label_of_a_row_will_do():
    labels = np.array([[1, 1, 0], [0, 1, 0], [0, 0, 1]], bool)
    # The neighbour of row 0 has one of its labels; that of row 1 votes for another one, too.
    assert knn_correct(unit([0, 5, 90]), labels, k=1).tolist() == [True, False, False]


def test_more_neighbours_than_rows_are_all_there_are():
    embeddings, labels = unit([0, 5, 90]), one_hot([0, 0, 1])
    np.testing.assert_array_equal(
        knn_correct(embeddings, labels, k=200), knn_correct(embeddings, labels, k=2)
    )


def test_a_small_temperature_stays_finite():
    assert knn_correct(unit([0, 5, 90]), one_hot([0, 0, 1]), k=2, temperature=1e-4)[0]


def test_a_row_without_a_label_is_refused():
    labels = np.array([[True], [False]])
    with pytest.raises(ValueError) as error:
        knn_correct(unit([0, 1]), labels)
    assert str(error.value) == (
        "Two or more embeddings with at least one label each are needed. Received: "
        "embeddings.shape=(2, 2), labels.shape=(2, 1), rows without a label=1"
    )
