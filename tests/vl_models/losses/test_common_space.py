"""Golden values and closed forms of the losses of the common-space family."""

import math

import numpy as np
import pytest
import tensorflow as tf

from vl_models.losses.class_triplet import (
    batch_hinge,
    class_triplet_rows,
    hardest_negatives,
    triplet_rows,
)
from vl_models.losses.distances import distances, pairwise_distances
from vl_models.losses.graph import feature_neighbours, laplacian_penalty
from vl_models.losses.labels import shares_label
from vl_models.losses.modality import IMAGE, TEXT, modality_cross_entropy
from vl_models.losses.pair_likelihood import half_cosine, half_product, pair_likelihood


def arrays(values, *names):
    return [tf.constant(values[name], tf.float32) for name in names]


def test_distance_and_gradient_are_zero_where_rows_are_equal():
    a = tf.constant([[1.0, 2.0], [3.0, 4.0]])
    b = tf.constant([[1.0, 2.0], [0.0, 0.0]])
    with tf.GradientTape() as tape:
        tape.watch(a)
        values = distances(a, b)
    np.testing.assert_allclose(values, [0.0, 5.0])
    np.testing.assert_allclose(tape.gradient(values, a), [[0.0, 0.0], [0.6, 0.8]], rtol=1e-6)
    np.testing.assert_allclose(pairwise_distances(a, a), [[0, 8**0.5], [8**0.5, 0]], rtol=1e-6)


def test_shared_labels_with_several_and_without():
    a = tf.constant([[1, 1, 0], [0, 0, 0]])
    b = tf.constant([[0, 1, 1], [0, 0, 1], [1, 1, 0]])
    assert shares_label(a, b).numpy().tolist() == [[True, False, True], [False] * 3]


def test_acmr_golden_triplets(golden):
    toy = golden["acmr_triplet"]
    v, w, v_negative, w_negative = arrays(toy, "v", "w", "vneg", "wneg")
    paper = toy["paper_lambda_.05_mu_1"]
    image = float(tf.reduce_sum(triplet_rows(v, w, w_negative, 1.0, 0.05)))
    text = float(tf.reduce_sum(triplet_rows(w, v, v_negative, 1.0, 0.05)))
    assert (image, text) == pytest.approx((paper["V"], paper["T"]), rel=1e-6, abs=1e-6)
    assert image + text == pytest.approx(paper["sum"], rel=1e-6, abs=1e-6)


def test_acmr_demo_has_one_hinge_per_batch(golden):
    toy = golden["acmr_triplet"]
    sides = arrays(toy, "v", "w", "vneg", "wneg")
    whole = batch_hinge(*sides, toy["m"], toy["alpha"])
    assert float(whole) == pytest.approx(toy["code_batch_hinge"], rel=1e-6, abs=1e-6)
    # Row by row, and without the halves, it would be this.
    rows = [batch_hinge(*(2**0.5 * side[i : i + 1] for side in sides)) for i in range(2)]
    assert float(sum(rows)) == pytest.approx(toy["per_sample_squared_l2_sum"], rel=1e-6, abs=1e-6)


def test_the_hardest_negative_may_be_far_but_is_of_another_class():
    features = tf.constant([[1.0, 0.0], [2.0, 0.1], [-1.0, 0.2], [-1.0, -0.1]])
    labels = tf.constant([[1, 0], [1, 1], [0, 1], [1, 0]])
    # Rows 1 and 2, and 0, 1 and 3 share a label; row 1 with all others.
    index, found = hardest_negatives(features, labels)
    assert found.numpy().tolist() == [True, False, True, True]
    assert index.numpy()[[0, 2, 3]].tolist() == [2, 3, 2]


def test_all_triplets_of_an_anchor_are_the_mean_of_its_triplets():
    generator = np.random.default_rng(0)
    anchors, candidates = (tf.constant(generator.normal(size=(5, 3)), tf.float32) for _ in "ab")
    labels = tf.one_hot([0, 0, 1, 1, 1], 2)
    same = shares_label(labels, labels).numpy()
    expected = []
    for i in range(5):
        rows = [
            triplet_rows(anchors[i : i + 1], candidates[j : j + 1], candidates[k : k + 1], 2.0, 0.3)
            for j in np.flatnonzero(same[i])
            for k in np.flatnonzero(~same[i])
        ]
        expected.append(np.mean(rows))
    found = class_triplet_rows(anchors, candidates, tf.constant(same), 2.0, 0.3)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_without_another_class_only_the_pull_is_left():
    anchors, candidates = tf.constant([[0.0, 0.0]]), tf.constant([[3.0, 4.0], [0.0, 1.0]])
    rows = class_triplet_rows(anchors, candidates, tf.fill([1, 2], True), 10.0, 1.0)
    np.testing.assert_allclose(rows, [3.0])


def test_dscmr_golden_values(golden):
    toy = golden["dscmr"]
    v, t, y, pv, pt = arrays(toy, "V", "T", "Y", "Pv", "Pt")
    mean = tf.reduce_mean
    j1 = mean(distances(pv, y)) + mean(distances(pt, y))
    same = shares_label(y, y)
    j2 = sum(mean(pair_likelihood(half_cosine(a, b), same)) for a, b in ((v, v), (v, t), (t, t)))
    j3 = mean(distances(v, t))
    found = [float(j) for j in (j1, j2, j3, j1 + 1e-3 * j2 + 1e-1 * j3)]
    assert found == pytest.approx([toy[key] for key in ("J1", "J2", "J3", "J")], rel=1e-6, abs=1e-6)


def test_dscmr_of_identical_features_of_one_class(golden):
    x = tf.ones([4, 3])
    term = tf.reduce_mean(pair_likelihood(half_cosine(x, x), tf.fill([4, 4], True)))
    expected = golden["dscmr"]["J2_identical_one_class_3log(1+e^.5)-1.5"]
    assert 3 * float(term) == pytest.approx(expected, rel=1e-6, abs=1e-6)
    np.testing.assert_allclose(half_cosine(7.0 * x, x), half_cosine(x, x), rtol=1e-6)
    assert np.isfinite(half_cosine(0.0 * x, x)).all()


def test_ssah_golden_values(golden):
    toy = golden["ssah"]
    features, same = arrays(toy, "F", "S01")
    theta = half_product(features, features)
    likelihood = tf.reduce_sum(pair_likelihood(theta, same))
    assert float(likelihood) == pytest.approx(toy["nll_sum(log(1+e^th)-S th)"], rel=1e-6, abs=1e-6)
    # The released code takes this instead; it is here to tell the two apart.
    gap = 0.999 * same * theta - tf.nn.softplus(theta)
    code = 0.5 * tf.reduce_sum(tf.square(gap))
    assert float(code) == pytest.approx(
        toy["code_half_sq(S*.999*th - log(1+e^th))"], rel=1e-6, abs=1e-6
    )


def test_likelihood_without_similarity_and_its_direction():
    zero = pair_likelihood(tf.zeros([2, 2]), tf.constant([[1.0, 0.0], [0.0, 1.0]]))
    np.testing.assert_allclose(zero, np.full((2, 2), math.log(2)), rtol=1e-6)
    theta = tf.constant([[-2.0, 0.0, 2.0]])
    assert (np.diff(pair_likelihood(theta, tf.ones_like(theta))) < 0).all()
    assert (np.diff(pair_likelihood(theta, tf.zeros_like(theta))) > 0).all()


def test_chance_of_the_modality_classifier_costs_two_ln_two():
    logits = tf.zeros([5, 2])
    both = [float(tf.reduce_mean(modality_cross_entropy(logits, side))) for side in (IMAGE, TEXT)]
    assert sum(both) == pytest.approx(2 * math.log(2))
    sure = tf.constant([[9.0, -9.0]])
    assert float(modality_cross_entropy(sure, IMAGE)[0]) < 1e-6
    assert float(modality_cross_entropy(sure, TEXT)[0]) == pytest.approx(18.0, abs=1e-4)


def test_tfnh_golden_value_with_the_sign_that_draws_neighbours_together(golden):
    toy = golden["tfnh_graph"]
    codes, weights = arrays(toy, "f", "W")
    penalty = float(laplacian_penalty(codes, weights))
    assert -penalty == pytest.approx(toy["tr(f^T (W-D) f) as in code"], rel=1e-6, abs=1e-6)
    assert float(laplacian_penalty(tf.ones([3, 2]), weights)) == pytest.approx(0.0, abs=1e-6)


def test_neighbours_are_near_by_the_largest_distance():
    features = tf.constant([[0.0], [0.4], [10.0]])
    weights = feature_neighbours(features).numpy()
    # 0 and 1 are neighbours of each other and of themselves, 2 is alone.
    np.testing.assert_array_equal(weights, [[2, 2, 0], [2, 2, 0], [0, 0, 1]])
