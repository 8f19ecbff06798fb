from PIL import Image

from serving.index import Hit
from tfx_pipeline.report.contact_sheet import render_contact_sheet


def test_the_sheet_holds_thumbnails_and_escapes_what_people_typed(tmp_path):
    path = tmp_path / "red.png"
    Image.new("RGB", (30, 20), "red").save(path)
    hits = [Hit("red", str(path), 0.5), Hit("<b>", f"file://{path}", 0.25)]

    page = render_contact_sheet("<script>生日", hits)

    assert page.count("data:image/jpeg;base64,") == 2
    assert "<h1>&lt;script&gt;生日</h1>" in page
    assert "2. &lt;b&gt; · 0.250" in page
    assert "<script>" not in page and "http" not in page


def test_an_image_that_cannot_be_read_shows_its_address(tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    page = render_contact_sheet("q", [Hit("a", "hdfs://far/a", 1.0), Hit("b", str(broken), 0.9)])
    assert "<p>hdfs://far/a</p>" in page
    assert f"<p>{broken}</p>" in page
