import gzip
import json

import pytest

from tfx_pipeline.data.caption_files.forms import FORMS, read_captions
from vl_models.errors import UserError

ROW = {"image": "a.jpg", "caption": "A dog ."}
TABLE = "image,caption\na.jpg,红色的圆\nb.jpg,蓝色的方块\n"


@pytest.mark.parametrize(
    ("content", "form"),
    [
        ("a.jpg#0\tA dog .\n", "tokens"),
        ("\n\na.jpg#zhc#0 一只狗\n", "tokens"),
        ({"images": [{"filename": "a.jpg", "sentences": [{"raw": "A dog ."}]}]}, "karpathy"),
        (
            {
                "images": [{"id": 1, "file_name": "a.jpg"}],
                "annotations": [{"image_id": 1, "caption": "A dog ."}],
            },
            "coco",
        ),
        ([ROW], "jsonl"),
        ([ROW, ROW], "jsonl"),
        ('{"broken\n' + json.dumps(ROW) + "\n", "jsonl"),
        (json.dumps([ROW]), "json"),
        (json.dumps([ROW], indent=2), "json"),
        ({"annotations": [ROW]}, "json"),
        ({"data": [ROW]}, "json"),
        ({"images": [{"filename": "a.jpg", "caption": "A dog ."}]}, "json"),
        ({"a.jpg": "A dog ."}, "json"),
        (TABLE, "table"),
    ],
)
def test_each_form_is_told_by_its_content(read, content, form):
    title, captions, _ = read(content)
    assert title == FORMS[form].title
    assert captions[0][1] == "a.jpg"
    assert read(content, form=form)[0] == title


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be", "gb18030"])
@pytest.mark.parametrize("packed", [False, True])
def test_encodings(read, encoding, packed):
    data = TABLE.encode(encoding)
    options = {"encoding": encoding} if encoding == "gb18030" else {}
    _, captions, rejected = read(gzip.compress(data) if packed else data, **options)
    assert [caption[2] for caption in captions] == ["红色的圆", "蓝色的方块"]
    assert rejected == []


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (TABLE.encode("gb18030"), {}, ", row 2: not valid UTF-8, but valid GB18030. Give --encod"),
        ({"a": 1}, {}, ": JSON without the keys of a known form (image and caption; images and"),
        ("some text\n", {}, ", row 1: neither JSON (Expecting value) nor a token file nor a table"),
        ('{\n"images": [\n', {}, ", row 3: neither JSON (Expecting value) nor a token file"),
        ({"images": [], "annotations": []}, {}, ": holds no captions (COCO captions)."),
        (" \n", {}, ": the file is empty."),
        ("x" * 200_000, {}, ", row 1: neither JSON (Expecting value) nor a token file nor a table"),
        (TABLE, {"form": "coco"}, ": not of the form 'coco'. Leave out --form, or give another."),
        ("image,caption,Caption\na,b,c\n", {}, ": two columns are called 'caption'. Rename one"),
    ],
)
def test_mistakes_name_file_and_place(tmp_path, read, content, options, message):
    with pytest.raises(UserError) as error:
        read(content, **options)
    assert str(error.value).startswith(f"{tmp_path}/captions.txt{message}")


def test_unknown_forms_and_files(tmp_path, read):
    with pytest.raises(UserError, match=r"no form 'cocoa' of caption files: tokens, karpathy, coc"):
        read(TABLE, form="cocoa")
    with pytest.raises(UserError, match=r"gone\.csv: cannot be opened \(No such file"):
        read_captions(tmp_path / "gone.csv")


def test_broken_bytes_are_the_fault_of_single_rows(read):
    content = b"image,caption\na.jpg,A dog\nb.jpg,caf\xe9 noir\nc\xff.jpg,A cat\n"
    _, captions, rejected = read(content)
    assert [caption[:3] for caption in captions] == [(2, "a.jpg", "A dog")]
    assert rejected == [
        (3, "invalid_utf8", "key 'caption' is not valid Unicode (byte 0xe9)"),
        (4, "invalid_utf8", "key 'image' is not valid Unicode (byte 0xff)"),
    ]


def test_texts_under_unknown_keys_are_reported_once(read, caplog):
    row = ROW | {"photographer": "Ada", "tags": ["x"], "image_id": "x_0", "width": 7, "id": "8"}
    _, captions, rejected = read([row, row])
    assert len(captions) == 2
    assert rejected == []
    assert caplog.text.count("photographer (row 1), tags (row 1)") == 1
    assert "image_id" not in caplog.text
    assert "width" not in caplog.text
