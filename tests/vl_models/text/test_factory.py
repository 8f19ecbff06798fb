import json

import numpy as np
import pytest
import tensorflow as tf

from tests.vl_models.text.test_clip_bpe_parity import MERGES, TEXTS
from vl_models.errors import UserError
from vl_models.text.clip_bpe import CLIPTokenizer
from vl_models.text.factory import (
    load_tokenizer,
    pretrained_files,
    pretrained_tokenizer,
    save_vocabulary,
    vocabulary_files,
)
from vl_models.text.vocabulary import SPECIAL_TOKENS
from vl_models.text.wordpiece import WordPieceTokenizer

BERT = [*SPECIAL_TOKENS, "[unused1]", "the", "birth", "##day", "cat", "猫", "!", "café"]


def merges_text():
    return "#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in MERGES)


@pytest.fixture
def merges_file(tmp_path):
    path = tmp_path / "bpe.txt"
    path.write_text(merges_text(), "utf-8")
    return path


@pytest.fixture
def bert_file(tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_text("".join(f"{token}\n" for token in BERT), "utf-8")
    return path


def same(one, two):
    texts = tf.constant(TEXTS)
    assert type(one) is type(two)
    for key, value in one.tokenize(texts).items():
        np.testing.assert_array_equal(value, two.tokenize(texts)[key])


def test_clip_bpe_from_merges(merges_file):
    tokenizer = pretrained_tokenizer("clip_bpe", merges_file, 16)
    same(tokenizer, CLIPTokenizer(MERGES, 16))
    assert tokenizer.end_id == tokenizer.vocabulary_size - 1 == 512 + len(MERGES) + 1


def test_clip_bpe_from_a_pair_of_files_has_the_ids_of_its_vocabulary(tmp_path):
    folder = tmp_path / "pair"
    folder.mkdir()
    (folder / "merges.txt").write_text(merges_text(), "utf-8")
    order = CLIPTokenizer(MERGES, 16).vocabulary
    ids = {token: len(order) - 1 - index for index, token in enumerate(order)}
    (folder / "vocab.json").write_text(json.dumps(ids), "utf-8")
    tokenizer = pretrained_tokenizer("clip_bpe", folder, 16)
    assert (tokenizer.start_id, tokenizer.end_id) == (1, 0)
    usual = CLIPTokenizer(MERGES, 16).tokenize(tf.constant(["birthday 生日"]))
    batch = tokenizer.tokenize(tf.constant(["birthday 生日"]))
    mask = usual["text_mask"].numpy()
    np.testing.assert_array_equal(
        batch["token_ids"].numpy()[mask], len(order) - 1 - usual["token_ids"].numpy()[mask]
    )
    np.testing.assert_array_equal(tokenizer.text_mask(batch["token_ids"]), mask)
    assert [path.name for path in pretrained_files(folder)] == ["vocab.json", "merges.txt"]


def test_wordpiece_from_a_bert_vocabulary(bert_file):
    tokenizer = pretrained_tokenizer("wordpiece", bert_file, 8)
    same(tokenizer, WordPieceTokenizer(BERT, 8))
    assert pretrained_files(bert_file) == [bert_file]


@pytest.mark.parametrize("kind", ["clip_bpe", "wordpiece"])
def test_a_folder_gives_the_tokeniser_that_was_saved_in_it(kind, merges_file, bert_file, tmp_path):
    tokenizer = pretrained_tokenizer(kind, merges_file if kind == "clip_bpe" else bert_file, 12)
    folder = tmp_path / "run"
    folder.mkdir()
    save_vocabulary(vocabulary_files(tokenizer), folder)
    same(load_tokenizer(folder, 12), tokenizer)
    assert load_tokenizer(folder, 12).vocabulary == tokenizer.vocabulary


def test_another_kind_in_the_same_folder_leaves_nothing_of_the_first(tmp_path):
    save_vocabulary(vocabulary_files(CLIPTokenizer(MERGES, 8)), tmp_path)
    assert (tmp_path / "merges.txt").is_file()
    save_vocabulary(vocabulary_files(WordPieceTokenizer(BERT, 8)), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["vocabulary.txt"]
    same(load_tokenizer(tmp_path, 8), WordPieceTokenizer(BERT, 8))


def test_a_cased_vocabulary_is_refused(tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join([*BERT, "Paris", "NATO"]) + "\n", "utf-8")
    with pytest.raises(
        UserError, match=r"is a cased one: 2 of 9 tokens hold capitals, for example 'Paris'"
    ):
        pretrained_tokenizer("wordpiece", path, 8)


def test_vocabulary_and_merges_must_belong_together(tmp_path):
    (tmp_path / "merges.txt").write_text(merges_text(), "utf-8")
    tokens = CLIPTokenizer(MERGES, 8).vocabulary
    (tmp_path / "vocab.json").write_text(json.dumps({t: i for i, t in enumerate(tokens[:-1])}))
    with pytest.raises(UserError, match=r"lacks 1 of the 1014 tokens .*'<\|endoftext\|>'"):
        pretrained_tokenizer("clip_bpe", tmp_path, 8)
    (tmp_path / "vocab.json").write_text(json.dumps({"a": 0, "b": 2}))
    with pytest.raises(UserError, match=r"must be 0, 1, 2, … without gaps"):
        pretrained_tokenizer("clip_bpe", tmp_path, 8)
    (tmp_path / "vocab.json").write_text("[1, 2]")
    with pytest.raises(UserError, match="is not JSON of the form"):
        pretrained_tokenizer("clip_bpe", tmp_path, 8)
    (tmp_path / "vocab.json").unlink()
    with pytest.raises(UserError, match=r"vocab\.json cannot be read: No such file"):
        pretrained_tokenizer("clip_bpe", tmp_path, 8)
