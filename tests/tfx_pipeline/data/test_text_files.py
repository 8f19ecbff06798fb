from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from tfx_pipeline.data.contract import to_bytes
from tfx_pipeline.data.text_files import open_bytes, open_text, read_text, suggest_encoding
from vl_models.errors import UserError

TEXT = "query,image_id\n红色的圆,a\r\ncafé,b\n"


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]
)
@pytest.mark.parametrize("packed", [False, True])
def test_encoding_and_packing_are_told_by_the_bytes(
    tmp_path: Path, encoding: str, packed: bool
) -> None:
    data = TEXT.encode(encoding)
    path = tmp_path / "log.txt"
    path.write_bytes(gzip.compress(data) if packed else data)
    assert read_text(str(path)) == TEXT
    with open_bytes(str(path)) as stream:
        assert stream.read() == data


def test_an_encoding_is_taken_as_given(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_bytes(TEXT.encode("gb18030"))
    assert read_text(str(path), "gb18030") == TEXT
    path.write_bytes(TEXT.encode("utf-8-sig"))
    assert read_text(str(path), "UTF8") == TEXT
    with pytest.raises(UserError, match="there is no encoding 'gbk18030'"):
        read_text(str(path), "gbk18030")
    with pytest.raises(UserError, match="there is no encoding 'base64'"):
        read_text(str(path), "base64")


def test_broken_bytes_come_through_and_can_be_named(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_bytes(TEXT.encode("gb18030"))
    with open_text(str(path)) as stream:
        lines = stream.readlines()
    assert lines[0] == "query,image_id\n"
    assert to_bytes(lines[1]) == "红色的圆,a\r\n".encode("gb18030")
    assert suggest_encoding(to_bytes(lines[1])) == "gb18030"
    assert suggest_encoding("les cafés de la forêt".encode("latin-1")) is None
    assert suggest_encoding("红色的圆，蓝色的方块".encode() + b"\xa1\xa1") is None
    assert suggest_encoding(b"cut \xff\xfe") is None


@pytest.mark.parametrize(
    "data",
    [gzip.compress(TEXT.encode(), mtime=0)[:-9], "ab".encode("utf-16")[:-1]],
    ids=["gzip", "utf-16"],
)
def test_a_file_that_is_cut_off_is_named(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "cut.csv"
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"cut.csv: cannot be read to its end"):
        read_text(str(path))
    with pytest.raises(UserError, match=r"gone.csv: cannot be opened \(No such file"):
        read_text(str(tmp_path / "gone.csv"))
