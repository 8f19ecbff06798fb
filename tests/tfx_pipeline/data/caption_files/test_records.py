import pytest


def record(**values):
    return {"image": "a.jpg"} | values


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"caption": "A dog"}, [("A dog", "en")]),
        ({"caption": ["A dog", "Two dogs"]}, [("A dog", "en"), ("Two dogs", "en")]),
        ({"captions": ["A dog", "狗"], "zh-Hans": ["猫"]}, [("A dog", "en"), ("狗", "zh")]),
        ({"caption": "a", "zh": "红色的圆"}, [("a", "en"), ("红色的圆", "zh")]),
        ({"en": ["A dog"], "zh": []}, [("A dog", "en")]),
        ({"en": ["A dog"], "zh": None, "fr": ""}, [("A dog", "en")]),
        ({"caption_zh": "圆", "de_captions": ["Kreis"]}, [("圆", "zh"), ("Kreis", "de")]),
        ({"caption": "ein Hund", "language": "de"}, [("ein Hund", "de")]),
        ({"caption": "A dog", "title": "IMG 7", "text": "Two"}, [("A dog", "en"), ("Two", "en")]),
        ({"title": "A dog", "comment": "Two"}, [("Two", "en")]),
        ({"sentences": [{"raw": "A dog", "tokens": ["a"]}]}, [("A dog", "en")]),
        ({"caption": "A dog", "id": "x_0", "no": 7}, [("A dog", "en")]),
        ({"en": {"caption": ["A dog"], "caption/tokenized": ["a", "dog"]}}, [("A dog", "en")]),
        ({"captions": {"en": "A dog", "zh": ["狗"]}}, [("A dog", "en"), ("狗", "zh")]),
        ({"id": {"caption": ["anjing hitam"]}}, [("anjing hitam", "id")]),
    ],
)
def test_captions_of_a_record(read, values, expected):
    _, captions, rejected = read([record(**values)])
    assert [caption[2:4] for caption in captions][: len(expected)] == expected
    assert len(captions) == len(expected) + ("zh-Hans" in values)
    assert rejected == []


@pytest.mark.parametrize(
    ("values", "reason", "message"),
    [
        ({"caption": None}, "missing_query", "key 'caption' is null, where a caption belongs"),
        ({"caption": " "}, "missing_query", "key 'caption' is empty, where a caption belongs"),
        (
            {"caption": "\u200b\ufeff \u200d"},
            "missing_query",
            "key 'caption' is empty, where a capti",
        ),
        ({"caption": "A\0dog"}, "bad_text", "key 'caption' holds a NUL character"),
        ({"caption": []}, "missing_query", "key 'caption' is an empty list, where captions belong"),
        ({"captions": ["x y", None]}, "missing_query", "key 'captions'[1] is null, where a capti"),
        ({"zh": ["x y", 7]}, "malformed_row", "key 'zh'[1] must hold text. Received: 7"),
        ({"caption": 7}, "malformed_row", "key 'caption' must hold text. Received: 7"),
        ({"zh": True}, "malformed_row", "key 'zh' must hold text. Received: True"),
        ({"en": [], "zh": None}, "missing_query", "the record has no caption: nothing under en, z"),
        ({"tags": ["x"]}, "missing_query", "the record has no caption: none of the keys caption"),
        ({"caption": "a", "split": "trian"}, "bad_split", "key 'split': unknown split 'trian'. Kn"),
        ({"caption": "a", "image": None}, "missing_image_id", "key 'image' is missing or empty"),
        ({"caption": "a", "image": 7}, "missing_image_id", "key 'image' must hold the name of an"),
    ],
)
def test_what_is_no_caption_is_rejected_with_row_and_key(read, values, reason, message):
    _, captions, rejected = read([record(caption="first"), record(**values)])
    assert captions[0] == (1, "a.jpg", "first", "en", None)
    [(row, found, text)] = rejected
    assert (row, found) == (2, reason)
    assert text.startswith(message)


def test_half_a_character_is_rejected(read):
    rows = b'{"image": "a.jpg", "caption": "a \\ud83d dog"}\n{"image": "a.jpg", "caption": "x"}\n'
    _, captions, rejected = read(rows)
    assert [caption[0] for caption in captions] == [2]
    message = "key 'caption' is not valid Unicode (half a surrogate pair, 0xd83d)"
    assert rejected == [(1, "invalid_utf8", message)]


def test_a_record_that_is_lost_counts_its_captions(tmp_path, read):
    from tfx_pipeline.data.caption_files.forms import read_captions

    read([{"image": "", "en": ["x y", "z"], "zh": "圆"}, record(caption="a")])
    [rejected] = read_captions(tmp_path / "captions.txt").rejected
    assert rejected.rows == 3


def test_splits_have_their_usual_names(read):
    names = ("train", "restval", "valid", "dev", "test", "", None)
    _, captions, _ = read([record(caption="a", split=name) for name in names])
    assert [c[4] for c in captions] == ["train", "train", "val", "val", "test", None, None]


@pytest.mark.parametrize(
    ("key", "values", "expected"),
    [
        ("caption", ["a", "red", "circle", "."], ["a red circle ."]),
        ("en", ["two", "dogs", "on", "grass"], ["two dogs on grass"]),
        ("zh", ["一个", "红色", "的", "圆", "。"], ["一个红色的圆。"]),
        ("zh", ["一只狗", "狗在跑"], ["一只狗", "狗在跑"]),
        ("en", ["dog", "puppy"], ["dog", "puppy"]),
        ("caption", ["two", "dogs", "running"], ["two dogs running"]),
        ("caption", ["一只狗", "狗在跑"], ["一只狗", "狗在跑"]),
        ("captions", [["a", "dog"], ["two", "dogs"]], ["a dog", "two dogs"]),
        ("caption", ["dog", "a dog on grass"], ["dog", "a dog on grass"]),
    ],
)
def test_lists_of_words_are_one_caption(read, key, values, expected):
    _, captions, _ = read([record(**{key: values})])
    assert [caption[2] for caption in captions] == expected
