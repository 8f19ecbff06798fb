import numpy as np
import tensorflow as tf

from vl_models.input.label_texts import draw_label_texts, fill_templates, label_ids
from vl_models.input.sampling import row_seed


def seeds_of(rows, epoch=0):
    return row_seed(3, tf.constant(epoch, tf.int64), tf.constant(rows, tf.int64))


def test_templates_are_filled_at_their_place_and_normalised_like_queries():
    filled = fill_templates(["A picture of {}.", "{}的图片", "{}"], tf.constant([["Red  FOX", ""]]))
    assert filled.numpy().tolist() == [
        [
            [b"a picture of red fox.", "red fox的图片".encode(), b"red fox"],
            [b"a picture of .", "的图片".encode(), b""],
        ]
    ]


def test_all_texts_of_a_row_are_of_one_of_its_labels():
    labels = tf.constant([["cat", "dog", "fox"], ["owl", "", ""]])
    filled = fill_templates(["a {}", "the {}"], labels)
    lengths = tf.constant([3, 1])
    drawn_labels = set()
    for epoch in range(40):
        which, texts = draw_label_texts(filled, lengths, 2, seeds_of([0, 1], epoch))
        for row in range(2):
            own = labels.numpy()[row, which.numpy()[row]].decode()
            assert sorted(texts.numpy()[row]) == [f"a {own}".encode(), f"the {own}".encode()]
        drawn_labels.add(int(which[0]))
        assert which.numpy()[1] == 0
    assert drawn_labels == {0, 1, 2}


def test_few_templates_repeat_in_turn():
    filled = fill_templates(["a {}", "the {}"], tf.constant([["cat"]]))
    _, texts = draw_label_texts(filled, tf.constant([1]), 4, seeds_of([0]))
    first, second, *rest = texts.numpy()[0].tolist()
    assert first != second and rest == [first, second]


def test_labels_and_templates_are_drawn_evenly():
    filled = fill_templates(["{} 0", "{} 1"], tf.constant([["a", "b", "c", "d"]] * 4000))
    which, texts = draw_label_texts(filled, tf.fill([4000], 4), 1, seeds_of(range(4000)))
    labels = np.bincount(which.numpy(), minlength=4)
    templates = np.bincount([int(text[-1:]) for text in texts.numpy()[:, 0]], minlength=2)
    assert np.abs(labels - 1000).max() < 4 * np.sqrt(4000 * 0.25 * 0.75)
    assert np.abs(templates - 2000).max() < 4 * np.sqrt(4000 * 0.25)
    # and independently: the template of a row does not tell its label
    joint = np.bincount(which.numpy() * 2 + [int(t[-1:]) for t in texts.numpy()[:, 0]], minlength=8)
    assert np.abs(joint - 500).max() < 4.5 * np.sqrt(4000 * 0.125 * 0.875)


def test_ids_are_the_records_own_or_the_same_for_the_same_name_everywhere():
    ids = tf.ragged.constant([[7, 3], [], [], []], dtype=tf.int64)
    texts = tf.ragged.constant([["cat", "dog"], ["Cat", "dog"], ["dog"], []], dtype=tf.string)
    result = label_ids(ids, texts).numpy()
    cat, dog = result[1]
    assert result.dtype == np.int32
    assert result.tolist() == [[7, 3], [cat, dog], [dog, -1], [-1, -1]]
    assert cat != dog and min(cat, dog) >= 2**30
    # FarmHash of "cat", so that ids agree between runs, processes and versions
    assert cat == 2**30 + int(tf.strings.to_hash_bucket_fast(["cat"], 2**30)[0])


def test_rows_without_any_label_have_a_column_of_none():
    none = tf.ragged.constant([[], []], dtype=tf.int64, ragged_rank=1)
    names = tf.ragged.constant([[], []], dtype=tf.string, ragged_rank=1)
    assert label_ids(none, names).numpy().tolist() == [[-1], [-1]]
