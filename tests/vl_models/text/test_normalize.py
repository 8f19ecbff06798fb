"""Normalised queries: exact values, and that normalising again changes nothing."""

import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from vl_models.text.normalize import normalize_batch, normalize_queries

# Letters, marks and whatever is dropped or kept by what stands beside it.
SPECIAL = st.text(
    st.sampled_from(
        "aAé1#ßΣİ日ᄀㅏ❤👨🏽🏴→≠™Ⓜمیكकകখකខᠠﷺ \n\x00\x1f\x85\xad"
        "\u0301\u0338\u034f\u064b\u093c\u094d\u09cd\u0dca\u115f\u17b4\u180b\u180e\u200b\u200c"
        "\u200d\u200e\u202e\u2060\u20e3\u2800\u3164\ufe0e\ufe0f\ufeff\uffa0"
        "\U000e0067\U000e007f\U000e0100"
    ),
    max_size=10,
)
INVISIBLE = (
    "\u200b\u200c\u200d\u2060\ufeff\u00ad\u034f\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e"
    "\u2061\u2062\u2063\u2064\u2066\u2067\u2068\u2069\u206a\u206f\u115f\u1160\u3164\uffa0\u17b4"
    "\u17b5\u180b\u180e\ufe00\ufe0e\ufe0f\ufff9\ufffb\x00\x01\x08\x1b\x7f\x80\x9f"
    "\U0001bca0\U0001d173\U000e0001\U000e0067\U000e007f\U000e0100\U000e01ef"
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  Rote　ROSE\t\n", "rote rose"),
        ("Ｃａｆｅ\u0301", "café"),
        ("\u2028a\u1680b\x85\x0bc\x1fd", "a b c d"),
        ("⠓⠊\u2800⠞", "⠓⠊ ⠞"),
        ("sum\u00admer\u200b \ufeffhat", "summer hat"),
        ("e\u034f\u0301", "é"),  # composed only when nothing stands between
        ("\u202eabc\u202c", "abc"),
        ("葛\U000e0100飾", "葛飾"),
        ("tm™\ufe0f", "tmtm"),
        ("x\u200dy", "xy"),
        ("Red\x00 Shoes", "red shoes"),
        ("ΟΔΟΣ\x01 ΟΔΟΣ\u200bΟΔΟΣ", "οδος οδοσοδος"),
        ("1\ufe0f kg", "1 kg"),
    ],
)
def test_text_is_folded(text, expected):
    assert normalize_batch([text]) == [expected]


@pytest.mark.parametrize(
    "text",
    [
        "👨\u200d👩\u200d👧\u200d👦",
        "👩🏽\u200d🦰",
        "🏳\ufe0f\u200d🌈",
        "🏴\u200d☠\ufe0f",
        "❤\ufe0f\u200d🔥",
        "❤\ufe0f",
        "☎\ufe0e",
        "©\ufe0f",
        "1\ufe0f\u20e3",
        "#\ufe0f\u20e3",
        "🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",  # Scotland
        "می\u200cخواهم کتاب\u200cها",  # Persian
        "ক\u09cd\u200cষ",  # Bengali
        "র\u200d\u09cdয",
        "क\u094d\u200dष",  # Devanagari
        "क\u094d\u200d",
        "ന\u0d4d\u200d",  # a chillu of Malayalam, at the end of a word
        "ශ\u0dca\u200dරී",  # Sinhala
        "ប\u200c\u17ca\u17b8",  # Khmer
        "ᠬᠠᠷ\u180eᠠ",  # Mongolian
        "ᠠ\u180b",
    ],
)
def test_what_an_emoji_or_a_script_needs_is_kept(text):
    padded = f"\u200d\u200e{text}\u200b\ufeff"
    assert normalize_batch([text, padded]) == [text, text]


def test_kept_characters_are_kept_once_and_only_in_their_place():
    texts = {
        "می\u200c\u200cخواهم": "می\u200cخواهم",
        "می\u200e\u200c\u200bخواهم": "می\u200cخواهم",
        "می\u200c خواهم\u200c": "می خواهم",
        "क\u200d": "क",
        "👨\u200d": "👨",
        "👨\u200da": "👨a",
        "❤\ufe0f\ufe0f": "❤\ufe0f",
        "🏴\U000e0067\U000e0062": "🏴",  # a flag without its end
        "a\U000e0067\U000e007f": "a",
        "م\u180eم": "مم",
        "م\u180bم": "مم",
    }
    assert normalize_batch(list(texts)) == list(texts.values())


@pytest.mark.parametrize("character", [*INVISIBLE, "\u2800", "\u3000", "\x1c", "\x85"], ids=ascii)
def test_a_query_of_what_is_not_seen_is_empty(character):
    assert normalize_batch([character, f" {character}\u200d{character}\n"]) == ["", ""]


@given(
    st.sampled_from(["red shoes", "zürich", "红色的鞋", "東京 tower"]),
    st.lists(st.tuples(st.integers(0, 9), st.sampled_from(INVISIBLE)), max_size=6),
)
def test_invisible_characters_in_words_change_nothing(text, insertions):
    changed = text
    for place, character in insertions:
        changed = changed[:place] + character + changed[place:]
    assert normalize_batch([changed]) == [text]


@settings(max_examples=300)
@given(st.lists(st.one_of(SPECIAL, st.text()), min_size=1, max_size=20))
def test_the_result_is_a_fixed_point(texts):
    once = normalize_batch(texts)
    assert normalize_batch(once) == once


def test_the_graph_has_few_operations():
    # It runs for every served query.
    graph = tf.function(normalize_queries).get_concrete_function(tf.TensorSpec([None], tf.string))
    steps = [operation.type for operation in graph.graph.get_operations()]
    assert sorted(set(steps) - {"Placeholder", "Identity"}) == [
        "NormalizeUTF8",
        "StaticRegexReplace",
        "StringLower",
        "StringStrip",
    ]
    assert steps.count("StaticRegexReplace") == 3
    assert steps.count("NormalizeUTF8") == 2
