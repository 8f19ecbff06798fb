import pytest
import tensorflow as tf

from vl_models.text.clip_bpe import CLIPTokenizer
from vl_models.text.detokenize import join_words
from vl_models.text.vocabulary import SPECIAL_TOKENS
from vl_models.text.wordpiece import WordPieceTokenizer


@pytest.mark.parametrize(
    ("tokens", "text"),
    [
        ("a dog runs", "a dog runs"),
        ("一 个 人 在 跑 步", "一个人在跑步"),
        ("一 只 狗 。 两 只 猫 ！", "一只狗。两只猫！"),
        ("red 红 色 shoe", "red 红色 shoe"),
        ("a dog , running .", "a dog, running."),
        ("it ' s well - known ( really )", "it's well-known (really)"),
        ("mother - in - law", "mother-in-law"),
        ("", ""),
        ("  a   b ", "a b"),
    ],
)
def test_spaces_of_the_tokeniser_are_taken_out(tokens, text):
    assert join_words(tf.constant([tokens])).numpy()[0].decode() == text


def test_word_pieces_come_back_as_text():
    vocabulary = [*SPECIAL_TOKENS, "cat", "##s", "猫", "红", "red", ","]
    tokenizer = WordPieceTokenizer(vocabulary, max_length=8)
    texts = ["red cats", "", "红猫, cat"]
    ids = tokenizer.tokenize(tf.constant(texts))["token_ids"]
    assert [text.decode() for text in tokenizer.detokenize(ids).numpy()] == texts
    tokens = tokenizer.caption_tokens
    assert (tokens.start, tokens.end, tokens.padding) == (2, 3, 0)
    assert set(tokens.never) == {0, 1, 2, 4}


def test_byte_pairs_come_back_as_text():
    tokenizer = CLIPTokenizer([("c", "a"), ("ca", "t</w>")], max_length=12)
    texts = ["a cat", "猫", "it's !"]
    ids = tokenizer.tokenize(tf.constant(texts))["token_ids"]
    assert [text.decode() for text in tokenizer.detokenize(ids).numpy()] == ["a cat", "猫", "it's!"]
    assert tokenizer.caption_tokens.never == (tokenizer.start_id,)
    # Half of a character is none.
    half = tf.concat([ids[1:2, :2], tf.fill([1, 10], tokenizer.end_id)], axis=1)
    assert tokenizer.detokenize(half).numpy().tolist() == [b""]
