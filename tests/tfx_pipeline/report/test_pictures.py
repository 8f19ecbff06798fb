import io

from PIL import Image

from serving.index import Hit
from tfx_pipeline.report.pictures import Picture, PictureRow


def test_a_row_shows_thumbnails_with_captions_and_escapes_what_people_typed():
    buffer = io.BytesIO()
    Image.new("RGB", (30, 20), "red").save(buffer, "PNG")

    row = PictureRow("<script>生日", [Picture(buffer.getvalue(), "a & b"), Picture(b"", "lost")])
    page = row._repr_html_()

    assert page.count("data:image/jpeg;base64,") == 1
    assert "<b>&lt;script&gt;生日</b>" in page and "<script>" not in page
    assert "<figcaption>a &amp; b</figcaption>" in page and "<figcaption>lost</figcaption>" in page
    assert repr(row) == "<script>生日: a & b, lost"


def test_a_result_that_cannot_be_read_shows_its_address(tmp_path):
    Image.new("RGB", (30, 20), "red").save(tmp_path / "red.png")
    hits = [Hit("red", f"file://{tmp_path}/red.png", 0.5), Hit("far", "hdfs://far/<a>", 0.25)]

    page = PictureRow.of_hits("q", hits)._repr_html_()

    assert page.count("data:image/jpeg;base64,") == 1
    assert "1. red · 0.500" in page and "2. far · 0.250" in page
    assert "<p>hdfs://far/&lt;a&gt;</p>" in page
