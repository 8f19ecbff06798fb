"""Which keys rows have, by the model's inputs and the rows of the source."""

import numpy as np
import pytest
import tensorflow as tf

from tests.vl_models.training import tiny
from vl_models import features as f
from vl_models.errors import UserError
from vl_models.input.config import IMAGE_INPUTS, TEXT_INPUTS
from vl_models.input.examples import rows_function
from vl_models.input.readers.table import READERS, readers_of

ALWAYS = {"row", "seed", "image_id_hash", "source_id", "source_type", "image_log_q", "label_id"}
TEXTS = {"texts", "query_hash", "query_weight", "clicked_query_hashes"}


def rows_of(records, **settings):
    to_rows = rows_function(tiny.spec(augment=False, **settings), 7, 0, 1)
    rows = tf.range(len(records), dtype=tf.int64)
    serialized = []
    for features in records:
        made = {name: tiny.feature_of(values) for name, values in features.items()}
        example = tf.train.Example(features=tf.train.Features(feature=made))
        serialized.append(example.SerializeToString())
    return to_rows(tf.constant(serialized), rows, tf.constant(0, tf.int64))


def png(value, shape=(4, 4)):
    return tf.io.encode_png(np.full((*shape, 3), value, np.uint8)).numpy()


def pair(number):
    return {
        f.IMAGE_ENCODED: [png(number)],
        f.IMAGE_2_ENCODED: [png(number + 100)],
        f.QUERY_TEXT: [b"query %d" % number],
        f.SOURCE_TYPE: [b"caption"],
    }


def test_every_key_of_a_modality_has_a_reader():
    assert {*IMAGE_INPUTS, *TEXT_INPUTS} < set(READERS)


def test_a_key_that_nothing_reads_is_named():
    with pytest.raises(ValueError, match=r"must be among image, .*Received: sound"):
        readers_of(tiny.spec(inputs=("image", "sound")))


@pytest.mark.parametrize(
    ("rows", "keys", "kind"),
    [
        ("pairs", {"image", *TEXTS}, "caption"),
        ("images", {"image"}, "image_only"),
        ("texts", TEXTS, "text_only"),
    ],
)
def test_single_rows_of_pairs_have_the_keys_of_their_modality(rows, keys, kind):
    batch = rows_of([pair(1), pair(2)], rows=rows)
    assert batch.keys() == ALWAYS | keys
    assert batch["source_type"].numpy().tolist() == [f.SOURCE_TYPES.index(kind)] * 2


def test_single_rows_need_nothing_of_the_other_modality():
    image = {f.IMAGE_ENCODED: [png(9)]}
    np.testing.assert_array_equal(
        rows_of([image], rows="images")["image"][0], np.full((4, 4, 3), 9)
    )
    text = {f.QUERY_TEXT: [b"a cat"]}
    assert rows_of([text], rows="texts")["texts"].numpy().tolist() == [b"a cat"]


def test_a_model_that_reads_no_text_has_no_rows_of_texts():
    with pytest.raises(UserError) as caught:
        tiny.spec(name="a", rows="texts", inputs=("image",))
    assert str(caught.value) == "Source 'a': the model reads nothing of rows: texts."


def test_the_second_image_of_a_pair_is_the_stored_one():
    batch = rows_of([pair(1), pair(2)], inputs=("image", "image_2"))
    assert batch.keys() == ALWAYS | {"image", "image_2"}
    assert batch["image"].numpy()[:, 0, 0, 0].tolist() == [1, 2]
    assert batch["image_2"].numpy()[:, 0, 0, 0].tolist() == [101, 102]


def test_a_missing_second_image_is_an_error():
    with pytest.raises(tf.errors.InvalidArgumentError, match="A record has no image"):
        rows_of([{f.IMAGE_ENCODED: [png(1)]}], inputs=("image", "image_2"))


def test_answers_are_scores_of_the_known_ones():
    records = [
        {f.ANSWER_TEXT: [b"yes", b"no"], f.ANSWER_SCORE: [0.25, 1.0]},
        {f.ANSWER_TEXT: [b"red"]},
        {f.ANSWER_TEXT: [b"no"]},
        {},
    ]
    batch = rows_of(records, inputs=("answer",), answers=("no", "red"))
    assert batch["answer"].dtype == tf.float32
    assert batch["answer"].numpy().tolist() == [[1, 0], [0, 1], [1, 0], [0, 0]]
    batch = rows_of([{}, {}], inputs=("answer",), answers=("no", "red"))
    assert batch["answer"].numpy().tolist() == [[0, 0], [0, 0]]


def test_answers_need_as_many_scores():
    record = {f.ANSWER_TEXT: [b"yes", b"no"], f.ANSWER_SCORE: [0.5]}
    with pytest.raises(tf.errors.InvalidArgumentError, match="not as many scores as answers"):
        rows_of([record], inputs=("answer",), answers=("no",))
