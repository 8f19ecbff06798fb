import io

import numpy as np
import pytest
from PIL import Image

from serving.image_metadata import without_metadata
from tests.pictures import exif_data, png_chunk, png_file, saved

PIXELS = np.random.default_rng(0).integers(0, 256, (16, 16, 3)).astype(np.uint8)


def pixels(data):
    return np.asarray(Image.open(io.BytesIO(data)))


@pytest.mark.parametrize("options", [{}, {"progressive": True}])
def test_a_jpeg_keeps_its_picture_and_exif_data(options):
    plain = saved(Image.fromarray(PIXELS), exif=exif_data(6), **options)
    full = saved(
        Image.fromarray(PIXELS),
        exif=exif_data(6),
        icc_profile=bytes(70_000),
        comment=b"words",
        xmp=b"<x/>",
        **options,
    )
    assert len(full) > len(plain) + 70_000
    assert without_metadata(full) == plain
    assert without_metadata(plain) == plain


def test_a_png_keeps_its_picture_transparency_and_exif_data():
    kept = [(b"PLTE", bytes(6)), (b"tRNS", b"\0"), (b"eXIf", exif_data(6)[6:])]
    dropped = [(b"tEXt", b"a\0b"), (b"gAMA", b""), (b"iCCP", b"x")]
    expected = png_file(2, [b"\0\1"], 8, 3, kept)
    assert without_metadata(png_file(2, [b"\0\1"], 8, 3, [*dropped, *kept])) == expected


def test_exif_data_with_a_wrong_checksum_are_dropped():
    data = png_file(2, [b"\0\1"], 8, 0, [(b"eXIf", exif_data(6)[6:])])
    chunk = png_chunk(b"eXIf", exif_data(6)[6:])
    broken = data.replace(chunk, chunk[:-1] + bytes([chunk[-1] ^ 1]))
    assert without_metadata(broken) == png_file(2, [b"\0\1"], 8, 0)


@pytest.mark.parametrize("data", [b"", b"GIF89a", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n\0\0"])
def test_other_data_stay_as_they_are(data):
    assert without_metadata(data) == data


def test_segments_cut_short_end_the_search():
    data = saved(Image.fromarray(PIXELS), comment=b"words")
    for length in range(len(data)):
        assert len(without_metadata(data[:length])) <= length
