import numpy as np
import pytest
import tensorflow as tf

from vl_models.losses.positives import (
    PairHashes,
    click_similarity,
    known_positives,
    own_pairs,
    soft_positives,
)


def keys(rows, texts_per_image=1, first=0, **values):
    types = {"label": tf.int32, "clicked_query_weight": tf.float32}
    tensors = {name: tf.constant(v, types.get(name, tf.int64)) for name, v in values.items()}
    return PairHashes(tf.range(first, first + rows), texts_per_image, **tensors)


def positives(rows, **values):
    everyone = keys(rows, **values)
    return known_positives(everyone, everyone)


def test_texts_are_image_major():
    everyone = keys(2, texts_per_image=2)
    np.testing.assert_array_equal(own_pairs(everyone, everyone), [[1, 1, 0, 0], [0, 0, 1, 1]])


def test_without_keys_rows_belong_together_by_place_alone():
    np.testing.assert_array_equal(positives(3), np.eye(3))


def test_positives_share_image_or_query_or_a_known_click():
    found = positives(
        4,
        image_id_hash=[10, 11, 10, 12],
        query_hash=[1, 2, 3, 2],
        clicked_query_hashes=[[-1, -1], [3, -1], [-1, -1], [1, 3]],
    )
    expected = [[1, 0, 1, 0], [0, 1, 1, 1], [1, 0, 1, 0], [1, 1, 1, 1]]
    np.testing.assert_array_equal(found, expected)


def test_padding_is_no_click_even_of_a_query_with_the_padding_key():
    found = positives(
        2, image_id_hash=[1, 2], query_hash=[-1, 5], clicked_query_hashes=[[-1], [-1]]
    )
    np.testing.assert_array_equal(found, np.eye(2))


def test_positives_with_several_texts_per_image():
    found = positives(2, texts_per_image=2, image_id_hash=[1, 2], query_hash=[5, 6, 7, 5])
    np.testing.assert_array_equal(found, [[1, 1, 0, 1], [1, 0, 1, 1]])


def test_rows_of_one_label_are_positives_and_unlabelled_rows_only_of_themselves(golden):
    # Golden labels are 0 where there is none; here -1 is.
    values = golden["unicl"]
    found = positives(5, label=np.array(values["y"]) - 1)
    np.testing.assert_array_equal(found, np.array(values["targets"], bool))
    np.testing.assert_array_equal(found, tf.transpose(found))


def test_a_part_of_the_rows_against_all_is_a_part_of_the_whole():
    random = np.random.default_rng(0)
    values = {
        "image_id_hash": random.integers(0, 3, 6),
        "query_hash": random.integers(0, 5, 12),
        "clicked_query_hashes": random.integers(-1, 5, (6, 3)),
        "label": random.integers(-1, 2, 6),
    }
    whole = keys(6, texts_per_image=2, **values)
    part = keys(
        2,
        texts_per_image=2,
        first=2,
        **{k: v[len(v) // 3 : 2 * len(v) // 3] for k, v in values.items()},
    )
    full = known_positives(whole, whole)
    np.testing.assert_array_equal(known_positives(part, whole), full[2:4])
    np.testing.assert_array_equal(known_positives(whole, part), full[:, 4:8])
    np.testing.assert_array_equal(own_pairs(part, whole), own_pairs(whole, whole)[2:4])


GRAPH = {
    "image_id_hash": [1, 2, 3],
    "query_hash": [10, 11, 12],
    # Image 0 and 1 share query 20, image 1 and 2 share 21 and 22; -1 is padding.
    "clicked_query_hashes": [[20, -1, -1], [20, 21, 22], [22, 21, -1]],
    "clicked_query_weight": [[1.0, 0.9, 0.9], [0.6, 0.64, 0.48], [0.6, 0.8, 0.0]],
}


def test_similarity_is_the_cosine_of_the_clicked_queries():
    graph = keys(3, **GRAPH)
    expected = [[1.0, 0.6, 0.0], [0.6, 1.0, 0.64 * 0.8 + 0.48 * 0.6], [0.0, 0.8, 1.0]]
    np.testing.assert_allclose(click_similarity(graph, graph), expected, atol=1e-6)


def test_soft_positives_are_known_ones_and_squares_of_the_similarity():
    graph = keys(3, **{**GRAPH, "query_hash": [10, 11, 20]})  # text 2 is a click of images 0 and 1
    expected = [[1.0, 0.36, 1.0], [0.36, 1.0, 1.0], [0.0, 0.64, 1.0]]
    np.testing.assert_allclose(soft_positives(graph, graph), expected, atol=1e-6)


def test_similarity_of_random_graphs_is_that_of_dense_vectors():
    random = np.random.default_rng(3)
    clicked = np.stack([random.permutation(12)[:5] for _ in range(7)])
    weight = random.uniform(0.1, 1.0, (7, 5)).astype(np.float32)
    weight /= np.linalg.norm(weight, axis=1, keepdims=True)
    dense = np.zeros((7, 12))
    np.put_along_axis(dense, clicked, weight, axis=1)
    rows = {"clicked_query_hashes": clicked, "clicked_query_weight": weight}
    some = keys(3, **{name: value[2:5] for name, value in rows.items()})
    np.testing.assert_allclose(
        click_similarity(some, keys(7, **rows)), dense[2:5] @ dense.T, atol=1e-6
    )


def test_several_texts_of_an_image_share_its_similarity():
    two = {**GRAPH, "query_hash": [10, 11, 12, 13, 14, 15]}
    graph = keys(3, texts_per_image=2, **two)
    np.testing.assert_allclose(
        soft_positives(graph, graph),
        np.repeat([[1.0, 0.36, 0.0], [0.36, 1.0, 0.64], [0.0, 0.64, 1.0]], 2, axis=1),
        atol=1e-6,
    )


def test_a_batch_without_the_graph_is_told():
    rows = keys(3, **{k: v for k, v in GRAPH.items() if k != "clicked_query_weight"})
    with pytest.raises(ValueError) as caught:
        soft_positives(rows, rows)
    assert str(caught.value) == (
        "`positives: graph` needs batches with clicked_query_hashes and clicked_query_weight. "
        "Received: a batch without them"
    )
