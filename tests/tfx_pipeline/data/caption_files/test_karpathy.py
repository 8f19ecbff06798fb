def test_sentences_folders_and_splits(read):
    images = [
        {"filename": "a.jpg", "split": "restval", "sentences": [{"raw": "A dog ."}]},
        {
            "filepath": "val2014",
            "filename": "b.jpg",
            "split": "test",
            "sentences": [{"raw": "A cat ."}, {"raw": "猫"}, {"tokens": ["a", "tom", "cat"]}],
        },
    ]
    form, captions, rejected = read({"images": images})
    assert form == "Karpathy"
    assert captions == [
        (1, "a.jpg", "A dog .", "en", "train"),
        (2, "val2014/b.jpg", "A cat .", "en", "test"),
        (2, "val2014/b.jpg", "猫", "zh", "test"),
        (2, "val2014/b.jpg", "a tom cat", "en", "test"),
    ]
    assert rejected == []


def test_what_cannot_be_used_is_named(read):
    images = [
        {"filename": "a"},
        {"filename": None, "sentences": [{"raw": "x"}]},
        {"filename": "a", "sentences": [{"raw": None}, {"raw": "y"}]},
        {"filename": "a", "split": "tost", "sentences": [{"raw": "x"}]},
    ]
    _, captions, rejected = read({"images": images})
    assert captions == [(3, "a", "y", "en", None)]
    assert [(row, message) for row, _, message in rejected] == [
        (1, "images[0]: key 'sentences' is missing, or is no list with sentences"),
        (2, "images[1]: key 'filename' is missing or empty"),
        (3, "images[2].sentences[0]: key 'raw' is null, where a caption belongs"),
        (4, f"images[3]: unknown split 'tost'. Known: {KNOWN}."),
    ]


KNOWN = "train, restval, val, valid, validation, dev, test"
