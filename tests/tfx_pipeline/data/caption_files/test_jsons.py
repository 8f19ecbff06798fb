import json

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
