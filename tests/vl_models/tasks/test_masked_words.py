import numpy as np
import pytest
import tensorflow as tf

from vl_models.tasks.masked_words import mask_words
from vl_models.text.vocabulary import SPECIAL_TOKENS
from vl_models.text.wordpiece import WordPieceTokenizer

VOCABULARY = [*SPECIAL_TOKENS, "red", "cat", "##s", "play", "##ing", "猫", "狗"]
TOKENIZER = WordPieceTokenizer(VOCABULARY, max_length=12)
MASK = TOKENIZER.mask_id
ORDINARY = np.arange(len(SPECIAL_TOKENS), len(VOCABULARY))


def make_seeds(rows):
    drawn = np.random.default_rng(0).integers(-(2**31), 2**31, (rows, 2))
    return tf.constant(drawn, tf.int32)


def words_of(texts):
    """The first four arguments of `mask_words`."""
    tokens = TOKENIZER.tokenize(tf.constant(texts))
    ids = tokens["token_ids"]
    special = (ids == TOKENIZER.start_id) | (ids == TOKENIZER.end_id)
    return ids, tokens["text_mask"], TOKENIZER.continuation_mask(ids), ~special


def mask(texts, seeds, **options):
    options = {"mask_id": MASK, "candidates": ORDINARY, **options}
    return [x.numpy() for x in mask_words(*words_of(texts), seeds, **options)]


def many(rows=5000, length=20):
    """Texts of single tokens, ids 10…109: the first four arguments."""
    ids = tf.constant(np.random.default_rng(1).integers(10, 110, (rows, length)), tf.int32)
    every = tf.ones(ids.shape, tf.bool)
    return ids, every, ~every, every


@pytest.mark.parametrize("rate", [0.15, 0.5])
def test_the_share_is_exact_and_splits_80_10_10(rate):
    ids, *flags = many()
    masked, chosen = mask_words(
        ids, *flags, make_seeds(5000), mask_id=3, candidates=range(10, 110), rate=rate
    )
    np.testing.assert_array_equal(tf.math.count_nonzero(chosen, 1), [round(rate * 20)] * 5000)
    # Every position alike; 5,000 draws each.
    by_place = np.mean(chosen, axis=0)
    np.testing.assert_allclose(by_place, rate, atol=5 * (rate * (1 - rate) / 5000) ** 0.5)
    new, old = masked.numpy()[chosen], ids.numpy()[chosen]
    deviation = (0.8 * 0.2 / new.size) ** 0.5
    assert np.mean(new == 3) == pytest.approx(0.8, abs=4 * deviation)
    # One of 100 random tokens is the token that was there.
    assert np.mean(new == old) == pytest.approx(0.101, abs=4 * deviation)
    drawn = new[(new != 3) & (new != old)]
    assert drawn.size / new.size == pytest.approx(0.099, abs=4 * deviation)
    assert set(drawn) == set(range(10, 110))
    np.testing.assert_array_equal(masked.numpy()[~chosen.numpy()], ids.numpy()[~chosen.numpy()])


def test_words_are_chosen_whole():
    texts = ["red cats playing", "playing cats 猫狗", "cats"] * 300
    ids, _, continuation, _ = words_of(texts)
    assert TOKENIZER.continuation_mask(ids).numpy().sum(axis=1)[:3].tolist() == [2, 2, 1]
    _, chosen = mask(texts, make_seeds(900))
    later = continuation.numpy()[:, 1:]
    np.testing.assert_array_equal(chosen[:, 1:][later], chosen[:, :-1][later])
    # round(0.15 · 5) = 1 token: any of the words, long or short, equally often.
    first = ids.numpy()[0]
    for word in ("red", "cat", "play"):
        share = np.mean(chosen[::3, list(first).index(VOCABULARY.index(word))])
        assert share == pytest.approx(1 / 3, abs=4 * (2 / 9 / 300) ** 0.5)
    _, single = mask(texts, make_seeds(900), whole_words=False)
    assert np.any(single[:, 1:][later] != single[:, :-1][later])
    assert set(single.sum(axis=1)) == {1}


def test_words_are_taken_until_enough_tokens_are_chosen():
    # 7 tokens in 4 words: round(0.5 · 7) = 4 tokens, one more where the last word is long.
    _, chosen = mask(["playing cats playing red"] * 200, make_seeds(200), rate=0.5)
    assert set(chosen.sum(axis=1)) == {4, 5}
    _, every = mask(["playing cats"], make_seeds(1), rate=1.0)
    assert every.sum() == 4


def test_chinese_characters_are_words():
    _, chosen = mask(["猫狗猫狗"] * 100, make_seeds(100))
    assert np.all(chosen.sum(axis=1) == 1)
    assert set(np.argmax(chosen, axis=1)) == {1, 2, 3, 4}


def test_special_tokens_and_padding_are_never_chosen():
    texts = ["", "cat", "red cats playing", "猫"] * 50
    ids, text_mask, _, maskable = words_of(texts)
    masked, chosen = mask(texts, make_seeds(200), rate=1.0)
    np.testing.assert_array_equal(chosen, text_mask & maskable)
    np.testing.assert_array_equal(masked[~chosen], ids.numpy()[~chosen])
    assert not chosen[::4].any()
    # However small the share is, one word is chosen where there is one.
    _, few = mask(texts, make_seeds(200), rate=0.0, whole_words=False)
    np.testing.assert_array_equal(few.sum(axis=1), [0, 1, 1, 1] * 50)


def test_a_continuation_after_a_special_token_is_a_word():
    ids = tf.constant([[TOKENIZER.start_id, 7, 7, TOKENIZER.end_id, 0]])
    continuation = TOKENIZER.continuation_mask(ids)
    maskable = tf.constant([[False, True, True, False, True]])
    text_mask = tf.constant([[True, True, True, True, False]])
    _, chosen = mask_words(
        ids, text_mask, continuation, maskable, make_seeds(1), mask_id=MASK, candidates=[5]
    )
    assert chosen.numpy().tolist() == [[False, True, True, False, False]]


def test_a_row_draws_the_same_in_any_batch():
    texts, seeds = ["red cats playing 猫"] * 40, make_seeds(40)
    masked, chosen = mask(texts, seeds)
    again = mask(texts[7:9], seeds[7:9])
    np.testing.assert_array_equal(again[0], masked[7:9])
    np.testing.assert_array_equal(again[1], chosen[7:9])
    assert len({tuple(row) for row in chosen}) > 1
    # Another text beside it, and the compiled function, change nothing.
    options = {"mask_id": MASK, "candidates": ORDINARY}
    compiled = tf.function(lambda *tokens: mask_words(*tokens, seeds, **options), autograph=False)
    mixed = compiled(*words_of(["cat", *texts[1:]]))
    np.testing.assert_array_equal(mixed[0][1:], masked[1:])


def test_wrong_options_are_named():
    with pytest.raises(ValueError, match=r"Received: 0 candidates, rate=0\.15"):
        mask(["cat"], make_seeds(1), candidates=[])
    with pytest.raises(ValueError, match=r"Received: 7 candidates, rate=1\.5"):
        mask(["cat"], make_seeds(1), rate=1.5)
