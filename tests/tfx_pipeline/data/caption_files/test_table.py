import pytest


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("image,caption\na.jpg,A dog , seen from above .\n", [(2, "A dog , seen from above .")]),
        ('image,caption\r\na.jpg,"A dog, a ""big"" one"\r\n', [(2, 'A dog, a "big" one')]),
        ('caption,image\n"A dog, seen",a.jpg\n', [(2, "A dog, seen")]),
        ('image,caption\na.jpg,"A dog\nin two lines"\nb.jpg,x\n', [(2, "A dog\nin two lines"), 4]),
        ('image,caption\na.jpg,a 15" screen, on\nb.jpg,x\n', [(2, 'a 15" screen, on'), 3]),
        ('image,caption\na.jpg,"Hello" said he\nb.jpg,x\n', [(2, '"Hello" said he'), 3]),
        (r"image,caption" "\n" r'a.jpg,"He said \"hi\", once"' "\n", [(2, 'He said "hi", once')]),
        ("filepath\ttitle\na.jpg\tA dog, seen\n", [(2, "A dog, seen")]),
        ('filepath\ttitle\na.jpg\t"A dog\nb.jpg\tx\n', [(2, '"A dog'), 3]),
        ("image_name| comment_number| comment\na.jpg| 0| A | B\n", [(2, "A | B")]),
        ("image;caption\na.jpg;A dog, seen\n", [(2, "A dog, seen")]),
        (",image,split,caption\n0,a.jpg,train,A dog\n", [(2, "A dog")]),
        ('raw,filename\n"[""A dog"", ""Two""]",a.jpg\n', [(2, "A dog"), (2, "Two")]),
        ("raw,filename\n\"['A dog', 'It\\'s two']\",a.jpg\n", [(2, "A dog"), (2, "It's two")]),
        ("""raw,filename\n"['A dog', ""It's two""]",a.jpg\n""", [(2, "A dog"), (2, "It's two")]),
        ("image,caption\na.jpg,[A dog]\n", [(2, "[A dog]")]),
        ("image,en,zh\na.jpg,A dog,一只狗\nb.jpg,,猫\n", [(2, "A dog"), (2, "一只狗"), (3, "猫")]),
        ("a.jpg,A dog , seen\nb.jpg,x\n", [(1, "A dog , seen"), 2]),
        ("a.jpg\tA dog\nb.jpg\tx\n", [(1, "A dog"), 2]),
        ("a.jpg|0|A dog\n", [(1, "A dog")]),
        ("A dog\ta.jpg\n", [(1, "A dog")]),
        ("image,caption\ra.jpg,A dog\rb.jpg,x\r", [(2, "A dog"), 3]),
        ("\n\nImage, Caption\n\na.jpg, A dog\n\n", [(5, "A dog")]),
    ],
)
def test_tables_are_read_whole(read, content, expected):
    form, captions, rejected = read(content)
    expected = [item if isinstance(item, tuple) else (item, "x") for item in expected]
    assert form == "table"
    assert [(caption[0], caption[2]) for caption in captions] == expected
    assert rejected == []


@pytest.mark.parametrize(
    ("rows", "lost", "message"),
    [
        ('a.jpg,"A dog runs\nb.jpg,x\n', 2, 'a quote is opened and not closed: "A dog runs'),
        (
            'a.jpg,"A dog runs\nb.jpg,x\nb.jpg,"y"\n',
            2,
            'a quote is opened and not closed: "A dog runs',
        ),
        ("b.jpg,x\na.jpg\n", 3, "1 fields where the header has 2"),
        ("b.jpg,x\na.jpg,\n", 3, "key 'caption' is empty, where a caption belongs"),
        ("b.jpg,x\na.jpg,NaN\n", 3, "key 'caption' is null, where a caption belongs"),
        (
            "b.jpg,x\na.jpg,['A dog' 'Two dogs']\n",
            3,
            "neither one caption nor a list of them as JSON or Python write it: "
            "['A dog' 'Two dogs']",
        ),
        ("b.jpg,x\n,A dog\n", 3, "key 'image' is missing or empty"),
    ],
)
def test_a_broken_row_is_lost_alone(read, rows, lost, message):
    _, captions, rejected = read(f"image,caption\n{rows}")
    assert [(row, text) for row, _, text in rejected] == [(lost, message)]
    assert {caption[1] for caption in captions} == {"b.jpg"}
    assert len(captions) + 1 == len(rows.splitlines())


def test_columns_of_a_split_and_of_languages(read):
    _, captions, _ = read("image,split,caption_zh,caption\na.jpg,dev,狗,A dog\n")
    assert captions == [(2, "a.jpg", "狗", "zh", "val"), (2, "a.jpg", "A dog", "en", "val")]


def test_texts_that_are_not_last_hold_no_delimiter(read):
    _, captions, rejected = read("image,caption,split\na.jpg,A dog, seen,train\nb.jpg,x,test\n")
    assert rejected == [(2, "malformed_row", "4 fields where the header has 3")]
    assert captions == [(3, "b.jpg", "x", "en", "test")]
