import random

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_text as tf_text
from hypothesis import given, settings
from hypothesis import strategies as st

from vl_models.errors import UserError
from vl_models.text.normalize import normalize_batch
from vl_models.text.vocabulary import SPECIAL_TOKENS
from vl_models.text.wordpiece import WordPieceTokenizer
from vl_models.text.words import split_words

WORDS = ["red", "cat", "run", "##ning", "##s", "caf", "##e", "猫", "狗", "!", "[", "]", "cls"]
VOCABULARY = [*SPECIAL_TOKENS, *WORDS]
TOKENIZER = WordPieceTokenizer(VOCABULARY, max_length=8)


def tokens(text, tokenizer=TOKENIZER):
    batch = tokenizer.tokenize(tf.constant([text]))
    ids = batch["token_ids"][0][batch["text_mask"][0]]
    return [tokenizer.vocabulary[int(index)] for index in ids]


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("red cats", ["red", "cat", "##s"]),
        ("RED   Running!", ["red", "run", "##ning", "!"]),
        ("red猫狗cat", ["red", "猫", "狗", "cat"]),
        ("café", ["caf", "##e"]),
        ("ｒｅｄ", ["red"]),
        ("zebra red", ["[UNK]", "red"]),
        ("[CLS]", ["[", "cls", "]"]),
        ("", []),
        ("  \u3000\n", []),
        (b"\xff\xfe", []),
        (b"red\xffcat", ["red", "cat"]),
    ],
)
def test_words_and_pieces(text, pieces):
    assert tokens(text) == ["[CLS]", *pieces, "[SEP]"]


def test_accents_stay_if_asked_for():
    vocabulary = [*SPECIAL_TOKENS, "café"]
    assert tokens("Café", WordPieceTokenizer(vocabulary, 4, strip_accents=False))[1] == "café"


def test_pieces_are_matched_in_each_word_alone():
    odd = [
        "a",
        "b",
        "##b",
        "a.b",
        "...",
        ".",
        "##.",
        "a b",
        "\u2028",
        "##\u2028",
        "[a]",
        "你",
        "你b",
    ]
    vocabulary = [*SPECIAL_TOKENS, *odd, "don't", "'", "don", "t"]
    tokenizer = WordPieceTokenizer(vocabulary, max_length=32)
    words = tf_text.FastWordpieceTokenizer(
        vocabulary, token_out_type=tf.int32, unknown_token="[UNK]", no_pretokenization=True
    )
    draw = random.Random(0)
    parts = [*"ab .\u2028'[]你", "don", "t", "[CLS]", "x" * 99, "a" * 101, "\u0301"]
    texts = ["".join(draw.choices(parts, k=draw.randint(0, 9))) for _ in range(3000)]
    ids = tokenizer.tokenize(tf.constant(texts))["token_ids"].numpy()
    expected = words.tokenize(split_words(tf.constant(texts))).merge_dims(1, 2).to_list()
    assert [[i for i in row if i not in (0, 2, 3)] for row in ids.tolist()] == expected


def test_shapes_padding_and_dtypes():
    batch = TOKENIZER.tokenize(tf.constant(["red", "red cat run"]))
    assert batch["token_ids"].dtype == tf.int32 and batch["text_mask"].dtype == tf.bool
    assert batch["token_ids"].shape == batch["text_mask"].shape == (2, 8)
    np.testing.assert_array_equal(batch["token_ids"][0], [2, 5, 3, 0, 0, 0, 0, 0])
    np.testing.assert_array_equal(batch["text_mask"].numpy().sum(axis=1), [3, 5])


def test_empty_batch():
    assert TOKENIZER.tokenize(tf.constant([], tf.string))["token_ids"].shape == (0, 8)


def test_truncation_keeps_the_end_token():
    assert tokens("red " * 20) == ["[CLS]", *["red"] * 6, "[SEP]"]


def test_continuation_mask_marks_the_rest_of_a_word():
    batch = TOKENIZER.tokenize(tf.constant(["running cats"]))
    mask = TOKENIZER.continuation_mask(batch["token_ids"])
    np.testing.assert_array_equal(mask[0], [False, False, True, False, True, False, False, False])


def test_special_ids_follow_the_vocabulary():
    tokenizer = WordPieceTokenizer(["red", *reversed(SPECIAL_TOKENS)], 4)
    ids = (tokenizer.padding_id, tokenizer.start_id, tokenizer.end_id, tokenizer.mask_id)
    assert ids == (5, 3, 2, 1)
    assert tokenizer.vocabulary_size == 6


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=40))
def test_raw_and_normalised_text_give_equal_ids(text):
    text = text.encode("utf-8", "ignore").decode("utf-8")
    raw = TOKENIZER.tokenize(tf.constant([text]))["token_ids"]
    normalised = TOKENIZER.tokenize(tf.constant(normalize_batch([text])))["token_ids"]
    np.testing.assert_array_equal(raw, normalised)


def test_session_loader_gives_the_ids_of_eager_execution(tmp_path):
    module = tf.Module()
    module.tokenize = tf.function(
        TOKENIZER.tokenize, input_signature=[tf.TensorSpec([None], tf.string)]
    )
    queries = ["Red CATS", "", "猫 running"]
    tf.saved_model.save(module, str(tmp_path), signatures={"t": module.tokenize})
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        meta = tf.compat.v1.saved_model.loader.load(session, ["serve"], str(tmp_path))
        definition = meta.signature_def["t"]
        (fed,) = definition.inputs.values()
        fetched = definition.outputs["token_ids"].name
        ids = session.run(fetched, {fed.name: np.asarray(queries, object)})
    np.testing.assert_array_equal(ids, TOKENIZER.tokenize(tf.constant(queries))["token_ids"])


def test_too_short_sequences_are_refused():
    with pytest.raises(UserError, match="max_length=2"):
        WordPieceTokenizer(VOCABULARY, 2)
