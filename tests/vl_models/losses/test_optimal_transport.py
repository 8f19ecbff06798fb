import itertools

import numpy as np
import pytest
import tensorflow as tf

from vl_models.losses.optimal_transport import cosine_cost, transport_distance, transport_plan


def all_of(rows, length):
    return tf.ones([rows, length], tf.bool)


def plan_of(cost, **options):
    """T [N, M] of one cost matrix [M, N]."""
    cost = tf.constant(cost, tf.float32)[None]
    return transport_plan(cost, all_of(1, cost.shape[1]), all_of(1, cost.shape[2]), **options)[0]


def distance_of(cost, **options):
    return float(np.sum(np.asarray(cost, np.float32).T * plan_of(cost, **options).numpy()))


def sequences(rows=3, words=4, patches=5, width=6):
    random = np.random.default_rng(3)
    text = random.normal(size=(rows, words, width)).astype(np.float32)
    image = random.normal(size=(rows, patches, width)).astype(np.float32)
    text_mask = np.arange(words) < np.array([4, 2, 1])[:, None]
    image_mask = np.arange(patches) < np.array([5, 3, 4])[:, None]
    return text, image, text_mask, image_mask


@pytest.mark.parametrize("iterations", [1, 5, 50])
def test_golden_plans(golden, iterations):
    cost = golden["ipot"]["C_m2_n3"]
    expected = golden["ipot"][f"iter{iterations}"]
    plan = plan_of(cost, iterations=iterations)
    np.testing.assert_allclose(plan, expected["T_n_by_m"], atol=1e-6)
    np.testing.assert_allclose(np.sum(plan, axis=1), expected["row_sums(target 1/n)"], atol=1e-6)
    assert distance_of(cost, iterations=iterations) == pytest.approx(expected["dist"], abs=1e-6)


@pytest.mark.parametrize("iterations", [1, 50])
def test_two_words_on_two_patches(golden, iterations):
    expected = golden["ipot"][f"sym2x2_iter{iterations}_dist"]
    distance = distance_of([[0.0, 1.0], [1.0, 0.0]], iterations=iterations)
    assert distance == pytest.approx(expected, abs=1e-6)


def test_reaches_the_cheapest_assignment():
    # Of equally many words and patches, the optimum is a permutation (Birkhoff).
    cost = np.random.default_rng(0).uniform(0.0, 2.0, (5, 5))
    cheapest = min(np.mean(cost[range(5), order]) for order in itertools.permutations(range(5)))
    assert distance_of(cost, iterations=500) == pytest.approx(cheapest, abs=1e-4)


def test_inner_iterations_bring_the_rows_to_their_shares():
    cost = np.random.default_rng(0).uniform(0.0, 2.0, (5, 4))
    off = [np.abs(np.sum(plan_of(cost, iterations=1, inner=n), 1) - 0.25).max() for n in (1, 20)]
    assert off[0] > 1e-2 and off[1] < 1e-6


def test_marginals_are_uniform_on_what_counts():
    text, image, text_mask, image_mask = sequences()
    cost = cosine_cost(text, image, text_mask, image_mask)
    plan = transport_plan(cost, text_mask, image_mask, iterations=200).numpy()
    words = text_mask / text_mask.sum(axis=1, keepdims=True)
    patches = image_mask / image_mask.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(plan.sum(axis=1), words, atol=1e-6)
    np.testing.assert_allclose(plan.sum(axis=2), patches, atol=1e-3)
    one = transport_plan(cost, text_mask, image_mask, iterations=1).numpy()
    np.testing.assert_allclose(one.sum(axis=1), words, atol=1e-6)


def test_padding_changes_nothing():
    text, image, text_mask, image_mask = sequences()
    whole = transport_distance(text, image, text_mask, image_mask)
    other = text.copy(), image.copy()
    other[0][~text_mask], other[1][~image_mask] = 1e3, -1e3
    longer = np.pad(other[0], [(0, 0), (0, 3), (0, 0)], constant_values=7.0)
    mask = np.pad(text_mask, [(0, 0), (0, 3)])
    padded = transport_distance(longer, other[1], mask, image_mask)
    np.testing.assert_allclose(padded, whole, atol=1e-6)
    for row in range(3):
        short = text[row : row + 1, text_mask[row]], image[row : row + 1, image_mask[row]]
        alone = transport_distance(*short, *(all_of(1, side.shape[1]) for side in short))
        np.testing.assert_allclose(alone, whole[row : row + 1], atol=1e-6)


def test_the_order_of_words_and_patches_does_not_matter():
    text, image, _, _ = sequences()
    masks = all_of(3, 4), all_of(3, 5)
    words, patches = [2, 0, 3, 1], [4, 1, 0, 3, 2]
    plan = transport_plan(cosine_cost(text, image, *masks), *masks).numpy()
    mixed = transport_plan(cosine_cost(text[:, words], image[:, patches], *masks), *masks)
    np.testing.assert_allclose(mixed, plan[:, patches][:, :, words], atol=1e-6)


def test_distance_is_zero_for_equal_and_two_for_opposite_sequences():
    text = sequences()[0]
    masks = all_of(3, 4), all_of(3, 4)
    same = transport_distance(text, 3.0 * text[:, ::-1], *masks, iterations=500)
    np.testing.assert_allclose(same, 0.0, atol=1e-4)
    one = np.repeat(text[:, :1], 4, axis=1)
    np.testing.assert_allclose(transport_distance(one, -one, *masks), 2.0, atol=1e-5)


def test_gradient_flows_through_the_costs_alone():
    text, image, text_mask, image_mask = sequences()
    plan = transport_plan(
        cosine_cost(text, image, text_mask, image_mask), text_mask, image_mask
    ).numpy()
    variables = tf.Variable(text), tf.Variable(image)
    with tf.GradientTape(persistent=True) as tape:
        distance = transport_distance(*variables, text_mask, image_mask)
        cost = cosine_cost(*variables, text_mask, image_mask)
        by_hand = tf.reduce_sum(cost * plan.transpose(0, 2, 1))
        planned = transport_plan(cost, text_mask, image_mask)
    for variable in variables:
        gradient = tape.gradient(distance, variable)
        np.testing.assert_allclose(gradient, tape.gradient(by_hand, variable), atol=1e-6)
        assert np.abs(gradient).max() > 1e-3
        assert tape.gradient(planned, variable) is None


def test_float32_whatever_comes_in_and_finite_where_nothing_counts():
    text, image, text_mask, image_mask = sequences()
    text_mask[0] = False
    image_mask[1] = False
    text[2, 0] = 0.0  # no direction
    variable = tf.Variable(text)
    with tf.GradientTape() as tape:
        distance = transport_distance(variable, image, text_mask, image_mask)
    assert np.all(np.isfinite(tape.gradient(distance, variable)))
    np.testing.assert_allclose(distance, [0.0, 0.0, 1.0], atol=1e-6)
    half = transport_distance(
        tf.cast(text, tf.bfloat16), tf.cast(image, tf.bfloat16), text_mask, image_mask
    )
    assert half.dtype == tf.float32


def test_wrong_options_are_named():
    for options in ({"beta": 0.0}, {"iterations": 0}, {"inner": 0}):
        with pytest.raises(ValueError, match=r"must be positive\. Received: beta="):
            plan_of([[0.0]], **options)
