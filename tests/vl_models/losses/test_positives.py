import numpy as np
import tensorflow as tf

from vl_models.losses.positives import PairHashes, known_positives, own_pairs


def keys(rows, texts_per_image=1, first=0, **values):
    types = {"label": tf.int32}
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
