"""Rows whose texts are made of labels, and weights of weakly correlated queries."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from tests.vl_models.training import tiny
from vl_models import features as f
from vl_models.errors import UserError
from vl_models.input.examples import rows_function
from vl_models.input.records import START
from vl_models.input.source import Feed

TEMPLATES = ("A picture of {}.", "{}的图片")


def example(**features):
    record = tf.train.Example()
    for name, values in features.items():
        record.features.feature[name.replace("__", "/")].CopyFrom(tiny.feature_of(values))
    return record.SerializeToString()


def rows_of(records, epoch=0, texts_per_image=2, **config):
    """The rows of serialised records, texts still strings."""
    settings = {"inputs": ("token_ids",), "max_clicked_queries": 6, **config}
    to_rows = rows_function(tiny.spec(**settings), 7, 0, texts_per_image)
    rows = tf.range(len(records), dtype=tf.int64)
    return to_rows(tf.constant(records), rows, tf.constant(epoch, tf.int64))


def keys(texts):
    return tf.strings.to_hash_bucket_fast(texts, 2**62).numpy().tolist()


def filled(label):
    return [f"a picture of {label}.", f"{label}的图片"]


TWO_LABELS = example(
    label__id=[4, 9],
    label__text=[b"Red  Fox", b"owl"],
    query__text=[b"fox at night", b"fuchs", b"owl"],
    query__weight=[1.0, 5.0, 2.0],
)
ONE_LABEL = example(label__id=[2], label__text=[b"cat"])


def test_a_rows_texts_key_and_id_are_those_of_one_drawn_label():
    names = {4: "red fox", 9: "owl"}
    seen = set()
    for epoch in range(12):
        batch = rows_of([TWO_LABELS, ONE_LABEL], epoch, texts="labels", templates=TEMPLATES)
        first, second = batch["label_id"].numpy().tolist()
        texts = [text.decode() for text in batch["texts"].numpy()]
        assert sorted(texts[:2]) == filled(names[first]) and second == 2
        assert sorted(texts[2:]) == filled("cat")
        assert batch["query_hash"].numpy().tolist() == keys(texts)
        assert batch["query_weight"].numpy().tolist() == [1.0] * 4
        assert batch["source_type"].numpy().tolist() == [f.SOURCE_TYPES.index("label")] * 2
        seen.add(first)
    assert seen == {4, 9}


def test_every_text_of_the_labels_is_a_known_click_before_the_heaviest_queries():
    batch = rows_of([TWO_LABELS, ONE_LABEL], texts="labels", templates=TEMPLATES)
    first, second = batch["clicked_query_hashes"].numpy().tolist()
    own = [text for label in ("red fox", "owl") for text in filled(label)]
    assert first == keys([*own, "fuchs", "owl"])
    assert second == keys(filled("cat")) + [-1] * 4
    narrow = rows_of([TWO_LABELS], texts="labels", templates=TEMPLATES, max_clicked_queries=3)
    assert narrow["clicked_query_hashes"].numpy().tolist() == [keys(own[:3])]


def test_a_label_text_that_is_a_query_has_the_querys_key():
    batch = rows_of([ONE_LABEL], texts="labels", texts_per_image=1)
    assert batch["query_hash"].numpy().tolist() == keys(["cat"])


def test_rows_without_use_labels_have_no_id_but_their_classes():
    classes = ("owl", "cat", "Red  Fox")
    for texts in ("labels", "queries"):
        batch = rows_of([TWO_LABELS], texts=texts, use_labels=False, classes=classes)
        assert batch["label_id"].numpy().tolist() == [-1]
        assert batch["label"].numpy().tolist() == [[1, 0, 1]]
    batch = rows_of([TWO_LABELS], use_labels=True)
    assert batch["label_id"].numpy().tolist() == [4] and "label" not in batch


def test_classes_are_told_by_text_or_else_by_id():
    records = [example(label__id=ids, query__text=[b"x"]) for ids in ([9, 4], [], [5])]
    batch = rows_of(records, classes=("4", "9"))
    assert batch["label"].numpy().tolist() == [[1, 1], [0, 0], [0, 0]]


def test_names_without_ids_have_the_same_id_in_both_kinds_of_source():
    record = example(label__text=[b"Cat"], query__text=[b"tabby"])
    ids = [
        rows_of([record], texts=texts, use_labels=True)["label_id"].numpy().tolist()
        for texts in ("labels", "queries")
    ]
    assert ids[0] == ids[1] and ids[0][0] >= 2**30


def test_label_ids_must_fit_the_label_texts(tmp_path):
    pattern = tiny.write_records(
        tmp_path,
        shards=1,
        per_shard=4,
        with_images=False,
        features=lambda number: {f.LABEL_TEXT: [b"a", b"b"]},
    )
    source = tiny.source(pattern, inputs=["token_ids"], texts="labels", shuffle=False)
    message = r"(?s)not as many label ids as label texts: shard, record.*\[0\] \[0\]"
    with pytest.raises(UserError, match=message):
        list(itertools.islice(source.open(Feed(2), START), 1))


def weak_and_strong(weak=b"weak"):
    return example(
        query__text=[b"wallpaper", b"red fox"],
        query__weight=[4.0, 1.0],
        query__correlation=[weak, b"strong"],
    )


def test_weak_queries_weigh_less_and_are_drawn_less():
    batch = rows_of([weak_and_strong()] * 4000, texts_per_image=1, weak_weight=0.125)
    is_weak = batch["texts"].numpy() == b"wallpaper"
    # 4 · 1/8 against 1
    assert abs(is_weak.mean() - 1 / 3) < 4 * np.sqrt(2 / 9 / 4000)
    assert set(batch["query_weight"].numpy()[is_weak]) == {0.5}
    assert set(batch["query_weight"].numpy()[~is_weak]) == {1.0}
    # they are known clicks all the same, in the order of the clicks
    assert batch["clicked_query_hashes"].numpy()[0, :2].tolist() == keys(["wallpaper", "red fox"])


def test_the_factor_is_on_the_draw_weight_whatever_the_power():
    evenly = rows_of(
        [weak_and_strong()] * 4000, texts_per_image=1, weak_weight=0.25, text_draw_power=0.0
    )
    share = (evenly["texts"].numpy() == b"wallpaper").mean()
    assert abs(share - 0.2) < 4 * np.sqrt(0.16 / 4000)
    never = rows_of([weak_and_strong()] * 500, texts_per_image=1, weak_weight=0.0)
    assert set(never["texts"].numpy()) == {b"red fox"}
    # a row draws without repetition: with two texts both are drawn, the weak one last
    both = rows_of([weak_and_strong()], texts_per_image=2, weak_weight=0.0)
    assert both["texts"].numpy().tolist() == [b"red fox", b"wallpaper"]
    assert both["query_weight"].numpy().tolist() == [1.0, 0.0]


def test_a_weak_weight_of_one_and_absent_correlations_change_nothing():
    plain = example(query__text=[b"wallpaper", b"red fox"], query__weight=[4.0, 1.0])
    expected = rows_of([plain] * 50)
    for records, factor in (([weak_and_strong()] * 50, 1.0), ([plain] * 50, 0.1)):
        batch = rows_of(records, weak_weight=factor)
        for key in expected:
            np.testing.assert_array_equal(batch[key], expected[key])
