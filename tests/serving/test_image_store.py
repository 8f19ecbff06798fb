import io

import pytest
from PIL import Image

from serving.image_store import ImageStore
from serving.index import Hit


def encoded(kind):
    buffer = io.BytesIO()
    Image.new("RGB", (3, 2), (10, 200, 30)).save(buffer, kind)
    return buffer.getvalue()


@pytest.fixture
def folder(tmp_path):
    for kind in ("png", "bmp"):
        (tmp_path / f"a b.{kind}").write_bytes(encoded(kind))
    (tmp_path / "text.png").write_text("no picture")
    return tmp_path


def read(uri, prefix=None):
    [image] = ImageStore().servable([Hit("id", uri, 0.5)], prefix)
    return image


def test_paths_and_file_uris(folder):
    png = encoded("png")
    assert read(str(folder / "a b.png")) == png
    assert read((folder / "a b.png").as_uri()) == png
    assert read("a b.png", str(folder)) == png
    assert read("a b.png", folder.as_uri()) == png
    assert read(str(folder / "a b.png"), "s3://elsewhere") == png


def test_other_formats_are_made_what_a_reranker_reads(folder):
    assert Image.open(io.BytesIO(read("a b.bmp", str(folder)))).format == "PNG"


@pytest.mark.parametrize(
    ("uri", "prefix"),
    [
        ("", None),
        ("gone.png", "."),
        ("text.png", "."),
        (".", "."),
        ("https://example.org/a.png", None),
        ("a b.png", "s3://bucket"),
    ],
)
def test_what_cannot_be_read_here(folder, uri, prefix):
    assert read(uri, str(folder) if prefix == "." else prefix) is None
