"""The words are those of TF Text's BasicTokenizer on a normalised query, found in fewer steps."""

import random
import unicodedata

import pytest
import tensorflow as tf
from tensorflow_text.python.ops.bert_tokenizer import BasicTokenizer

from vl_models.text.normalize import normalize_queries
from vl_models.text.words import split_words

SCRIPTS = [
    range(0x20, 0x180),
    [0, 7, 9, 10, 0x1C, 0x85, 0xA0, 0xAD, 0x34F, 0x200B, 0x200C, 0x200D, 0x2060, 0x2800, 0x3000],
    [
        0x180E,
        0xFE0E,
        0xFE0F,
        0xFEFF,
        0xFFF9,
        0xFFFC,
        0x600,
        0xE0062,
        0xE007F,
        0x1F3F4,
        0x20E3,
        0x23,
    ],
    range(0x300, 0x370),
    [*range(0x370, 0x400), 0x130, 0x131, 0x1E9E, 0xDF, *range(0x1E00, 0x2000)],
    range(0x900, 0xE00),
    range(0x600, 0x700),
    [*range(0x1100, 0x1200), *range(0xAC00, 0xAC40)],
    [*range(0x4E00, 0x4E40), *range(0x3040, 0x3100), *range(0xFF00, 0xFFEF)],
    [*range(0x1F300, 0x1F700), *range(0x1F1E6, 0x1F200)],
    range(0x1800, 0x18AB),
    [*range(0xA640, 0xA6A0), *range(0x13A0, 0x13FE), *range(0xFB00, 0xFB50)],
]


def reference(texts, strip_accents):
    valid = tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8", replacement_char=ord(" "))
    return BasicTokenizer(lower_case=strip_accents).tokenize(normalize_queries(valid)).to_list()


def assert_same_words(texts, strip_accents):
    words = split_words(tf.constant(texts), strip_accents).to_list()
    expected = reference(tf.constant(texts), strip_accents)
    assert [(text, one) for text, one, other in zip(texts, words, expected) if one != other] == []


def test_words_end_at_space_punctuation_and_cjk_characters():
    words = split_words(tf.constant(["Red-Cat 日本 run", "", b"a\xffb", b"a\x00b"]))
    assert words.to_list() == [
        [b"red", b"-", b"cat", "日".encode(), "本".encode(), b"run"],
        [],
        [b"a", b"b"],
        [b"ab"],
    ]


@pytest.mark.parametrize("strip_accents", [True, False])
def test_every_character_is_split_as_before(strip_accents):
    # Python's Unicode is older than TF Text's: what is new is punctuation to the one or the other.
    assigned = (
        c for c in range(0x110000) if unicodedata.category(chr(c)) not in ("Cn", "Co", "Cs")
    )
    codes = [c for c in assigned if not 0xAC40 <= c <= 0xD7A3 and not 0x20000 <= c <= 0x3134F]
    assert_same_words([f"A{chr(code)}b".encode() for code in codes], strip_accents)


@pytest.mark.parametrize("strip_accents", [True, False])
def test_mixed_scripts_invisible_characters_and_broken_bytes(strip_accents):
    draw = random.Random(0)
    texts = []
    for _ in range(10_000):
        scripts = draw.sample(SCRIPTS, draw.randint(1, 4))
        characters = (chr(draw.choice(draw.choice(scripts))) for _ in range(draw.randint(1, 12)))
        texts.append("".join(characters).encode())
    for _ in range(2_000):
        texts.append(
            bytes(draw.choice(b"aB \xe4\xbd\xa0\xf0\x9f\x8e\x82\x00\xff'[]") for _ in "12345678")
        )
    assert_same_words(texts, strip_accents)
