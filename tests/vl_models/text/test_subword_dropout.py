import numpy as np
import pytest
import tensorflow as tf

from vl_models.input.sampling import row_seed
from vl_models.text.subword_dropout import SubwordDropout, split_table, unused_tokens
from vl_models.text.vocabulary import SPECIAL_TOKENS
from vl_models.text.wordpiece import WordPieceTokenizer

LETTERS = [*"abcde", *(f"##{letter}" for letter in "abcde")]
WORDS = ["abc", "ab", "##bc", "##cde", "abcde", "猫", "zz"]
VOCABULARY = [*SPECIAL_TOKENS, *LETTERS, *WORDS]
TOKENIZER = WordPieceTokenizer(VOCABULARY, max_length=16)
IDS = {token: index for index, token in enumerate(VOCABULARY)}


def spelled(ids):
    return "".join(VOCABULARY[index].removeprefix("##") for index in ids)


def noisy(texts, split=0.0, unknown=0.0, tokenizer=TOKENIZER, epoch=0):
    tokens = tokenizer.tokenize(tf.constant(texts))
    seeds = row_seed(3, tf.constant(epoch, tf.int64), tf.range(len(texts), dtype=tf.int64))
    changed = SubwordDropout(tokenizer, split, unknown)(tokens, seeds)
    assert changed.keys() == {"token_ids", "text_mask"}
    rows = zip(changed["token_ids"].numpy(), changed["text_mask"].numpy())
    return [[VOCABULARY[index] for index in ids[mask]] for ids, mask in rows]


def test_every_way_spells_the_token_by_smaller_ones():
    table = split_table(VOCABULARY)
    assert table.shape == (len(VOCABULARY), 8, 3) and table.dtype == np.int32
    for token, ways in zip(VOCABULARY, table):
        for way in ways:
            pieces = way[way >= 0]
            alone = len(pieces) == 1 and VOCABULARY[pieces[0]] == token
            whole = token in (*SPECIAL_TOKENS, *LETTERS, "猫", "zz")  # nothing spells them
            assert alone == whole
            assert spelled(pieces) == token.removeprefix("##")
            assert VOCABULARY[pieces[0]].startswith("##") is token.startswith("##")
            assert all(VOCABULARY[piece].startswith("##") for piece in pieces[1:])


def test_the_first_way_is_that_of_longest_matches():
    first = split_table(VOCABULARY)[IDS["abcde"], 0]
    assert [VOCABULARY[index] for index in first if index >= 0] == ["abc", "##d", "##e"]


def test_ways_differ_and_are_the_same_for_the_same_vocabulary():
    ways = split_table(VOCABULARY)[IDS["abcde"]]
    assert len({tuple(way) for way in ways.tolist()}) > 1
    np.testing.assert_array_equal(ways, split_table(VOCABULARY)[IDS["abcde"]])


def test_without_noise_nothing_changes():
    assert noisy(["abc 猫 abcde", ""]) == [
        ["[CLS]", "abc", "猫", "abcde", "[SEP]"],
        ["[CLS]", "[SEP]"],
    ]


def test_all_tokens_are_split_or_stay_whole_where_nothing_spells_them():
    [found] = noisy(["abc 猫 zz ab"], split=1.0)
    assert found[0] == "[CLS]" and found[-1] == "[SEP]"
    assert "".join(token.removeprefix("##") for token in found[1:-1]) == "abc猫zzab"
    assert not {"abc", "ab"} <= set(found) and {"猫", "zz"} <= set(found)
    assert len(found) > 6


def test_tokens_are_split_at_the_given_rate():
    rows = noisy(["abcde"] * 4000, split=0.2)
    share = np.mean([len(row) > 3 for row in rows])
    assert abs(share - 0.2) < 5 * np.sqrt(0.2 * 0.8 / 4000)


def test_words_become_unknown_whole_and_at_the_given_rate():
    tokenizer = WordPieceTokenizer(VOCABULARY, max_length=16)
    # "cdab" is c ##d ##a ##b: it is lost with all of its tokens or not at all.
    rows = noisy(["cdab 猫"] * 4000, unknown=0.3, tokenizer=tokenizer)
    whole = ["c", "##d", "##a", "##b"]
    kinds = {tuple(row[1:-1]) for row in rows}
    assert kinds == {
        (*whole, "猫"),
        ("[UNK]", "猫"),
        (*whole, "[UNK]"),
        ("[UNK]", "[UNK]"),
    }
    for place in (1, -2):
        share = np.mean([row[place] == "[UNK]" for row in rows])
        assert abs(share - 0.3) < 5 * np.sqrt(0.3 * 0.7 / 4000)


def test_long_texts_are_cut_so_that_the_end_stays():
    tokenizer = WordPieceTokenizer(VOCABULARY, max_length=5)
    [found] = noisy(["abcde abcde abcde"], split=1.0, tokenizer=tokenizer)
    assert len(found) == 5 and found[0] == "[CLS]" and found[-1] == "[SEP]"


def test_changes_depend_on_the_seed_alone():
    texts = ["abcde abc"] * 6
    assert noisy(texts, split=0.5) == noisy(texts, split=0.5)
    assert noisy(texts, split=0.5) != noisy(texts, split=0.5, epoch=1)
    assert noisy(texts[:2], split=0.5) == noisy(texts, split=0.5)[:2]


@pytest.mark.parametrize("words", [["abcde", "猫"], ["abcde"]])
def test_unused_tokens_are_those_that_no_text_holds_even_split(words):
    ways = split_table(VOCABULARY)[IDS["abcde"]]
    held = {VOCABULARY[index] for index in ways[ways >= 0]}
    expected = [t for t in (*LETTERS, *WORDS) if t not in held | set(words)]
    assert unused_tokens(VOCABULARY, iter(words)) == expected
    assert "zz" in expected and "##e" not in expected
