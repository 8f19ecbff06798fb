import gzip
import itertools
import random

import numpy as np
import pytest
import tensorflow as tf

from vl_models.errors import UserError
from vl_models.text.clip_bpe import CLIPTokenizer, read_merges

MERGES = [
    ("a", "t</w>"),
    ("c", "at</w>"),
    ("d", "o"),
    ("do", "g</w>"),
    ("o", "n"),
    ("b", "an"),
    ("a", "n"),
    ("an", "an"),
]
TOKENIZER = CLIPTokenizer(MERGES, max_length=12)


def pieces(text):
    batch = TOKENIZER.tokenize(tf.constant([text]))
    ids = batch["token_ids"][0][batch["text_mask"][0]].numpy()
    assert (ids[0], ids[-1]) == (TOKENIZER.start_id, TOKENIZER.end_id)
    return [TOKENIZER.vocabulary[index] for index in ids[1:-1]]


def reference(word):
    """Byte-pair encoding as it is defined: merge all of the best pair, again and again."""
    symbols = [*word[:-1], word[-1] + "</w>"]
    while True:
        known = [pair for pair in itertools.pairwise(symbols) if pair in MERGES]
        if not known:
            return symbols
        best, merged, index = min(known, key=MERGES.index), [], 0
        while index < len(symbols):
            if tuple(symbols[index : index + 2]) == best:
                merged.append("".join(best))
                index += 2
            else:
                merged.append(symbols[index])
                index += 1
        symbols = merged


@pytest.mark.parametrize(
    "word", ["cat", "dog", "dogcat", "banana", "ananas", "aannaann", "a", "on", "donan"]
)
def test_merges_follow_the_definition(word):
    assert pieces(word) == reference(word)


def test_a_batch_of_words_that_come_again():
    draw = random.Random(0)
    words = ["".join(draw.choices("abcdnogt", k=draw.randint(1, 9))) for _ in range(300)]
    texts = [" ".join(draw.choices(words, k=2)) for _ in range(500)]
    tokenizer = CLIPTokenizer(MERGES, max_length=24)
    ids = tokenizer.tokenize(tf.constant(texts))
    for text, row, mask in zip(texts, ids["token_ids"].numpy(), ids["text_mask"].numpy()):
        expected = [symbol for word in text.split() for symbol in reference(word)]
        assert [tokenizer.vocabulary[index] for index in row[mask][1:-1]] == expected


def test_words_are_split_by_clips_pattern():
    assert pieces("CAT's  12!!") == ["cat</w>", "'", "s</w>", "1</w>", "2</w>", "!", "!</w>"]


@pytest.mark.parametrize("text", ["", "  ", b"\xff"])
def test_empty_texts(text):
    assert pieces(text) == []


def test_bytes_of_other_scripts_are_spelled():
    assert len(pieces("猫")) == 3
    assert pieces("猫")[-1].endswith("</w>")


def test_ids_are_in_clips_order():
    assert TOKENIZER.vocabulary_size == 512 + len(MERGES) + 2
    assert TOKENIZER.vocabulary[0] == "!" and TOKENIZER.vocabulary[256] == "!</w>"
    assert TOKENIZER.vocabulary[320 - 256] == "a"
    assert (TOKENIZER.start_id, TOKENIZER.end_id) == (520, 521)


def test_truncation_keeps_the_end_token_which_has_the_highest_id():
    ids = TOKENIZER.tokenize(tf.constant(["cat " * 20]))["token_ids"][0]
    assert ids[-1] == TOKENIZER.end_id == max(ids.numpy())


def test_continuation_mask():
    batch = TOKENIZER.tokenize(tf.constant(["banana cat"]))
    names = [TOKENIZER.vocabulary[index] for index in batch["token_ids"][0]]
    mask = TOKENIZER.continuation_mask(batch["token_ids"])[0].numpy()
    inside = names.index("cat</w>")
    np.testing.assert_array_equal(mask[:2], [False, False])
    assert mask[2:inside].all() and not mask[inside:].any()


def test_session_loader_gives_the_ids_of_eager_execution(tmp_path):
    module = tf.Module()
    module.tables = list(TOKENIZER.resources)
    module.tokenize = tf.function(
        TOKENIZER.tokenize, input_signature=[tf.TensorSpec([None], tf.string)]
    )
    tf.saved_model.save(module, str(tmp_path), signatures={"t": module.tokenize})
    queries = ["Dog cat", "", "banana"]
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        meta = tf.compat.v1.saved_model.loader.load(session, ["serve"], str(tmp_path))
        definition = meta.signature_def["t"]
        (fed,) = definition.inputs.values()
        fetched = definition.outputs["token_ids"].name
        ids = session.run(fetched, {fed.name: np.asarray(queries, object)})
    np.testing.assert_array_equal(ids, TOKENIZER.tokenize(tf.constant(queries))["token_ids"])


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_read_merges(tmp_path, compress):
    path = tmp_path / "merges"
    path.write_bytes(compress(b"#version\na b\nab c\n"))
    assert read_merges(path) == [("a", "b"), ("ab", "c")]
    assert read_merges(path, limit=1) == [("a", "b")]


def test_errors_name_file_and_line(tmp_path):
    path = tmp_path / "merges.txt"
    path.write_text("#version\na b\nabc\n")
    with pytest.raises(UserError, match=r"line 3, must hold two symbols\. Received: 'abc'"):
        read_merges(path)
    with pytest.raises(UserError, match="cannot be read"):
        read_merges(tmp_path / "absent")
