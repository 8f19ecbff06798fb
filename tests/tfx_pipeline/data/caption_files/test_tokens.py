def test_numbers_and_tags(read):
    lines = (
        "a.jpg#0\tA dog .\r\na.jpg#1\t两只狗\nb.jpg#0\tA cat # 9 .\n\n"
        "a#1 b.jpg#2\tA hash\nc.jpg#zhc#0 一个 小女孩 。\nc.jpg#enm#12\ta girl\n"
    )
    form, captions, rejected = read(lines)
    assert form == "Flickr tokens"
    assert captions == [
        (1, "a.jpg", "A dog .", "en", None),
        (2, "a.jpg", "两只狗", "zh", None),
        (3, "b.jpg", "A cat # 9 .", "en", None),
        (5, "a#1 b.jpg", "A hash", "en", None),
        (6, "c.jpg", "一个 小女孩 。", "zh", None),
        (7, "c.jpg", "a girl", "en", None),
    ]
    assert rejected == []


def test_other_lines_are_rejected(read):
    _, captions, rejected = read("a.jpg#0\tA dog\nb.jpg\tA cat\nc.jpg#0\t \n")
    assert len(captions) == 1
    assert rejected == [
        (2, "malformed_row", r"expected `image#number<TAB>caption`. Received: 'b.jpg\tA cat'"),
        (3, "missing_query", "the caption is empty, where a caption belongs"),
    ]
