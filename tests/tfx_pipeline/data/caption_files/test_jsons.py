import json

import pytest

from vl_models.errors import UserError

XM3600 = {
    "image/key": "000411001ff7dd4f",
    "image/locale": "en",
    "en": {"caption": ["A dog on grass"], "caption/tokenized": ["A dog on grass"]},
    "zh": {"caption": ["草地上的狗", "一只狗"]},
}


def test_lines_with_texts_by_language(read):
    form, captions, rejected = read([XM3600])
    assert form == "JSON lines"
    assert [caption[1:4] for caption in captions] == [
        ("000411001ff7dd4f", "A dog on grass", "en"),
        ("000411001ff7dd4f", "草地上的狗", "zh"),
        ("000411001ff7dd4f", "一只狗", "zh"),
    ]
    assert rejected == []


def test_a_line_that_is_broken_is_lost_alone(read):
    good = json.dumps({"image": "a.jpg", "caption": "A dog"})
    _, captions, rejected = read(f'{good}\n{{"image": "b\n[1]\n\n{good}\n')
    assert [caption[0] for caption in captions] == [1, 5]
    assert [(row, reason) for row, reason, _ in rejected] == [
        (2, "malformed_row"),
        (3, "malformed_row"),
    ]
    assert rejected[0][2].startswith("no JSON: Unterminated string")
    assert rejected[1][2].startswith("a record must hold an image and captions by keys. Received")


def test_line_separators_inside_a_text_cut_no_row(read):
    text = "A dog\u2028and\u0085a cat"
    _, captions, _ = read([{"image": "a.jpg", "en": [text]}] * 2)
    assert [caption[2] for caption in captions] == [text] * 2


def test_lists_and_objects_by_image_name(read):
    records = [
        {"image": "a.jpg", "caption": "A dog", "image_id": "x_0"},
        {"image": "b.jpg", "caption": ["A cat", "Two cats"], "image_id": "x_1"},
        7,
    ]
    for whole in (json.dumps(records), {"annotations": records}):
        form, captions, rejected = read(whole)
        assert form == "JSON list"
        assert [caption[:3] for caption in captions] == [
            (1, "a.jpg", "A dog"),
            (2, "b.jpg", "A cat"),
            (2, "b.jpg", "Two cats"),
        ]
        assert [row for row, _, _ in rejected] == [3]
    _, captions, _ = read({"a.jpg": ["A dog", "Two"], "b.PNG": "x", "c.jpg": {"zh": "猫"}})
    assert [caption[1:3] for caption in captions] == [
        ("a.jpg", "A dog"),
        ("a.jpg", "Two"),
        ("b.PNG", "x"),
        ("c.jpg", "猫"),
    ]


def test_a_record_with_a_key_twice_is_lost(read):
    twice = '{"image": "a.jpg", "caption": "x", "caption": "y"}'
    good = '{"image": "a.jpg", "caption": "z"}'
    for whole in (f"{twice}\n{good}\n", f"[{twice}, {good}]"):
        _, captions, rejected = read(whole)
        assert [caption[:3] for caption in captions] == [(2, "a.jpg", "z")]
        assert rejected == [(1, "malformed_row", "key 'caption' is there more than once")]


def test_an_image_name_twice_is_refused(read):
    with pytest.raises(UserError, match=r"the key 'a\.jpg' is there more than once\. Join its"):
        read('{"a.jpg": "x", "b.jpg": "y", "a.jpg": "z"}')


def test_a_line_that_no_parser_takes_is_lost_alone(read):
    good = '{"image": "a.jpg", "caption": "z"}'
    _, captions, rejected = read(f"{good}\n{'[' * 100_000}\n{'9' * 5_000}\n{good}\n")
    assert [caption[0] for caption in captions] == [1, 4]
    assert [row for row, _, _ in rejected] == [2, 3]
    assert rejected[0][2].startswith("no JSON: maximum recursion depth exceeded")
    assert rejected[1][2].startswith("no JSON: Exceeds the limit (4300 digits)")


def test_half_a_character_in_an_unknown_key_is_shown(read, caplog):
    read('{"image": "a.jpg", "caption": "x", "k\\ud83d": "y"}\n')
    assert r"a language: k\xed\xa0\xbd (row 1)" in caplog.text
