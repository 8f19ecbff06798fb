import math

import numpy as np
import pytest
import tensorflow as tf

from vl_models.losses.queue import (
    Negatives,
    mutual_neighbours,
    queue_cross_entropy,
    queue_logits,
    shared_queries,
)

E1 = np.array([[1.0, 0.0]], np.float32)


def loss(query, key, queue, temperature, excluded=None):
    logits = queue_logits(query, key, [Negatives(queue, excluded)], 1.0 / temperature)
    return queue_cross_entropy(logits)


def unit(shape, seed):
    x = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    return tf.constant(x / np.linalg.norm(x, axis=-1, keepdims=True))


def test_golden_values(golden):
    values = golden["moco"]
    zeros, orthogonal = np.zeros([7, 2], np.float32), np.tile([[0.0, 1.0]], [4, 1])
    np.testing.assert_allclose(
        loss(E1, E1, orthogonal, 0.07), [values["pos=1,queue orthogonal K=4,T=.07"]], atol=1e-6
    )
    other = np.array([[0.0, 1.0]], np.float32)
    expected = values["pos=0,queue zeros K=7"]
    np.testing.assert_allclose(loss(E1, other, zeros, 0.07), [expected], atol=1e-6)
    assert expected == pytest.approx(values["ln8"]) == pytest.approx(math.log(8), abs=1e-7)
    np.testing.assert_allclose(
        loss(E1, E1, zeros, 0.2), [values["pos=1,queue zeros K=7,T=.2"]], atol=1e-6
    )


def test_no_gradient_reaches_keys_or_queue():
    query, key, queue = (
        tf.Variable(unit(shape, seed)) for seed, shape in enumerate([(3, 4), (3, 4), (6, 4)])
    )
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(loss(query, key, queue, 0.1))
    to_query, to_key, to_queue = tape.gradient(total, [query, key, queue])
    assert np.any(to_query.numpy() != 0.0)
    assert to_key is None and to_queue is None


def test_hidden_entries_are_as_if_absent():
    query, key, queue = unit((3, 4), 0), unit((3, 4), 1), unit((6, 4), 2)
    excluded = tf.constant([[False, False, True, False, True, True]])
    expected = loss(query, key, tf.gather(queue, [0, 1, 3]), 0.1)
    np.testing.assert_allclose(loss(query, key, queue, 0.1, excluded), expected, rtol=1e-6)
    np.testing.assert_allclose(loss(query, key, queue, 0.1, tf.ones([3, 6], tf.bool)), 0.0)


def test_several_blocks_of_negatives_are_one():
    query, key, queue = unit((3, 4), 0), unit((3, 4), 1), unit((6, 4), 2)
    whole = queue_logits(query, key, [Negatives(queue)], 5.0)
    parts = queue_logits(query, key, [Negatives(queue[:2]), Negatives(queue[2:])], 5.0)
    assert whole.shape == (3, 7)
    np.testing.assert_allclose(parts, whole, rtol=1e-6)
    np.testing.assert_allclose(whole[:, 0], 5.0 * tf.reduce_sum(query * key, axis=1), rtol=1e-6)


def test_further_positives_add_their_own_cross_entropy():
    logits = tf.constant([[1.0, 0.5, -0.5, 2.0], [0.0, 1.0, 2.0, 3.0]])
    positives = tf.constant([[True, False, True], [False, False, False]])
    log_softmax = tf.nn.log_softmax(logits).numpy()
    expected = [-log_softmax[0, [0, 1, 3]].sum(), -log_softmax[1, 0]]
    np.testing.assert_allclose(queue_cross_entropy(logits, positives), expected, rtol=1e-6)


def test_shared_positives_are_the_mean_of_their_cross_entropies():
    logits = tf.constant([[2.0, 1.0, -1.0], [0.0, 3.0, 1.0]])
    positives = tf.constant([[True, True], [False, False]])
    log_softmax = tf.nn.log_softmax(logits).numpy()
    found = queue_cross_entropy(logits, positives, share=True)
    np.testing.assert_allclose(found, [-log_softmax[0].mean(), -log_softmax[1, 0]], rtol=1e-6)


def test_label_smoothing_spreads_over_what_is_not_hidden():
    query, key, queue = unit((3, 4), 0), unit((3, 4), 1), unit((6, 4), 2)
    excluded = tf.constant([[False, False, True, False, True, True]])
    logits = queue_logits(query, key, [Negatives(queue, excluded)], 5.0)
    seen = queue_logits(query, key, [Negatives(tf.gather(queue, [0, 1, 3]))], 5.0)
    targets = np.array([[0.9, 0.0, 0.0, 0.0]]) + 0.1 / 4
    expected = -np.sum(targets * tf.nn.log_softmax(seen).numpy(), axis=1)
    found = queue_cross_entropy(logits, label_smoothing=0.1)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_neighbours_are_near_in_both_queues():
    image = tf.constant([[0.9, 0.8, 0.1, 0.0], [0.1, 0.9, 0.2, 0.3]])
    text = tf.constant([[0.9, 0.1, 0.8, 0.0], [0.9, 0.2, 0.1, 0.3]])
    nothing = tf.zeros([1, 4], tf.bool)
    one = mutual_neighbours(image, text, nothing, 1).numpy()
    np.testing.assert_array_equal(one, [[True, False, False, False], [False] * 4])
    two = mutual_neighbours(image, text, nothing, 2).numpy()
    np.testing.assert_array_equal(two, [[True, False, False, False], [False, False, False, True]])
    # Without its nearest entry, the first pair's second nearest are different ones.
    excluded = tf.constant([[True, False, False, False]])
    assert not mutual_neighbours(image, text, excluded, 1).numpy()[0].any()
    assert not mutual_neighbours(image, text, ~nothing, 1).numpy().any()


@pytest.mark.parametrize(("images", "known", "texts"), [(3, 4, 7), (50, 1, 5), (1, 6, 1)])
def test_shared_queries_are_those_that_a_loop_finds(images, known, texts):
    random = np.random.default_rng(images)
    keys = random.integers(-1, 6, (images, known)) * (2**61 // 6)
    keys[keys < 0] = -1
    queries = random.integers(-1, 6, texts) * (2**61 // 6)
    queries[queries < 0] = -1
    expected = [[q != -1 and q in set(row) for row in keys] for q in queries]
    np.testing.assert_array_equal(shared_queries(keys, queries), expected)
