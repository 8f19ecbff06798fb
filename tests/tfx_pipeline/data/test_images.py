import io
import struct
import time
import zlib

import numpy as np
import pytest
from PIL import Image

from tests.pictures import ASCII, RESOLUTION_UNIT, exif_data, png_file, saved
from tfx_pipeline.data.config import ImageConfig
from tfx_pipeline.data.images import (
    ImageProblem,
    encode_image,
    load_bytes,
    resolve_uri,
    strip_suffix,
)

CONFIG = ImageConfig(shorter_side=32)


def noise(width, height, mode="RGB"):
    shape = (height, width, len(mode)) if mode != "L" else (height, width)
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, shape, np.uint8), mode)


def decoded(data):
    return Image.open(io.BytesIO(data))


def png_with_header(width, height):
    """A PNG that claims a size and has no pixels."""

    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("size", "expected"),
    [((100, 64), (50, 32)), ((64, 100), (32, 50)), ((33, 32), (33, 32)), ((20, 10), (20, 10))],
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_the_shorter_side_is_as_configured_and_never_enlarged(size, expected, kind):
    assert decoded(encode_image(saved(noise(*size), kind), CONFIG)).size == expected


def test_a_big_jpeg_shrinks_to_the_average_of_its_pixels():
    # The decoder's own scaling is used on the way: it must not shift or darken the image.
    ramp = np.tile(np.linspace(0, 255, 800).astype(np.uint8), (600, 1))
    image = Image.fromarray(np.stack([ramp] * 3, -1))
    small = np.asarray(decoded(encode_image(saved(image, quality=95), CONFIG)), np.float32)
    expected = np.tile(np.linspace(0, 255, 43), (32, 1))
    assert np.abs(small[..., 0] - expected)[:, 2:-2].max() < 6


def test_transparency_is_laid_over_white():
    image = Image.new("RGBA", (40, 40), (255, 0, 0, 0))
    small = np.asarray(decoded(encode_image(saved(image, "PNG"), CONFIG)).convert("RGB"))
    assert (small == 255).all()


def test_lossless_flat_images_stay_png_and_photographs_become_jpeg():
    flat = Image.new("RGB", (64, 64), (10, 200, 30))
    assert decoded(encode_image(saved(flat, "PNG"), CONFIG)).format == "PNG"
    assert decoded(encode_image(saved(noise(64, 64), "PNG"), CONFIG)).format == "JPEG"
    assert decoded(encode_image(saved(flat, "JPEG"), CONFIG)).format == "JPEG"


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_every_jpeg_becomes_rgb(mode):
    assert decoded(encode_image(saved(noise(40, 40, mode)), CONFIG)).mode == "RGB"


def test_exif_orientation_is_applied_and_metadata_dropped():
    image = Image.new("RGB", (80, 40), "white")
    image.paste((255, 0, 0), (0, 0, 40, 40))
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise: the left half is then the top
    result = decoded(encode_image(saved(image, exif=exif), CONFIG))
    assert result.size == (32, 64)
    pixels = np.asarray(result).astype(int)
    assert pixels[:28, :, 1].max() < 60
    assert pixels[36:, :, 1].min() > 200
    assert not result.getexif()


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_wrong_type_among_exif_data_costs_neither_picture_nor_orientation(order):
    image = Image.new("RGB", (80, 40), "white")
    image.paste((255, 0, 0), (0, 0, 40, 40))
    exif = exif_data(6, order, more=[(RESOLUTION_UNIT, ASCII, b"abc\0")])
    pixels = np.asarray(decoded(encode_image(saved(image, exif=exif), CONFIG))).astype(int)
    assert pixels.shape == (64, 32, 3)
    assert pixels[:28, :, 1].max() < 60
    assert pixels[36:, :, 1].min() > 200


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_nearly_square_photograph_keeps_its_sides(orientation):
    # JPEG's own scaling makes 100 x 99 a square on the way.
    data = saved(noise(104, 100), exif=exif_data(orientation))
    size = (33, 32) if orientation == 1 else (32, 33)
    assert decoded(encode_image(data, CONFIG)).size == size


@pytest.mark.parametrize("size", [(70_000, 20), (20, 70_000)])
def test_strips_too_long_for_jpeg_are_stored_as_they_are(size):
    for kind in ("PNG", "TIFF"):
        found = decoded(encode_image(saved(noise(*size), kind), CONFIG))
        assert found.format == "PNG"
        np.testing.assert_array_equal(np.asarray(found), np.asarray(noise(*size)))


def test_greys_of_16_bits_keep_their_high_byte():
    greys = np.tile(np.arange(0, 65_536, 2048, np.uint16), (32, 1))
    found = decoded(encode_image(saved(Image.fromarray(greys), "PNG"), CONFIG))
    assert found.format == "PNG"
    expected = np.tile(np.arange(0, 256, 8)[:, None], (32, 1, 3))
    np.testing.assert_array_equal(np.asarray(found), expected)


@pytest.mark.parametrize(
    "chunk",
    [
        (b"zTXt", b"a\0\0" + zlib.compress(bytes(80_000_000))),
        (b"iCCP", b"a"),
        (b"gAMA", b"a"),
        (b"cHRM", b"abcde"),
        (b"pHYs", b"a"),
        (b"iTXt", b"a"),
        (b"eXIf", b"a"),
    ],
)
def test_broken_metadata_do_not_cost_the_picture(chunk):
    rows = [bytes(range(32))] * 32
    found = decoded(encode_image(png_file(32, rows, 8, 0, [chunk]), CONFIG))
    np.testing.assert_array_equal(np.asarray(found.convert("L")), [list(range(32))] * 32)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            saved(Image.fromarray(np.array([[-5, 7]], np.int32)), "TIFF"),
            "cannot be decoded: greys from -5 to 7, and no telling which is black and which is "
            "white; save it with 8 or 16 bits",
        ),
        (
            png_file(1, [b"\0\0\0"], 8, 2, [(b"tRNS", b"a")]),
            "not an image of the formats JPEG, PNG, WEBP, GIF, BMP, TIFF, AVIF, or its header is "
            "broken",
        ),
    ],
)
def test_what_a_decoder_raises_is_the_reason(data, message):
    with pytest.raises(ImageProblem) as problem:
        encode_image(data, CONFIG)
    assert (str(problem.value.reason), str(problem.value)) == ("image_undecodable", message)


@pytest.mark.parametrize(
    ("data", "reason", "message"),
    [
        (b"", "image_empty", "the image has 0 bytes"),
        (
            b"just some text",
            "image_undecodable",
            "not an image of the formats JPEG, PNG, WEBP, GIF, BMP, TIFF, AVIF, or its header is "
            "broken",
        ),
        (
            png_with_header(10_000, 10_000),
            "image_too_large",
            "10000 x 10000 pixels by its header, more than 50,000,000 (data.max_pixels); "
            "it was not decoded",
        ),
        (
            png_with_header(20_000, 20_000),
            "image_too_large",
            "too many pixels by its header, more than 50,000,000 (data.max_pixels); "
            "it was not decoded",
        ),
    ],
)
def test_bad_images_have_reason_and_message(data, reason, message):
    with pytest.raises(ImageProblem) as problem:
        encode_image(data, CONFIG)
    assert (str(problem.value.reason), str(problem.value)) == (reason, message)


def test_a_real_bomb_is_refused_without_decoding():
    rows = zlib.compressobj(9)
    body = b"".join(rows.compress(bytes(1 + 8_000 * 3)) for _ in range(8_000)) + rows.flush()

    def chunk(kind, data):
        crc = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + crc

    header = struct.pack(">IIBBBBB", 8_000, 8_000, 8, 2, 0, 0, 0)
    bomb = (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    )
    assert len(bomb) < 300_000
    started = time.process_time()
    with pytest.raises(ImageProblem, match="it was not decoded"):
        encode_image(bomb, CONFIG)
    assert time.process_time() - started < 0.1


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_an_image_cut_in_half_is_truncated(kind):
    data = saved(noise(200, 200), kind)
    with pytest.raises(ImageProblem) as problem:
        encode_image(data[: len(data) // 2], CONFIG)
    assert problem.value.reason == "image_truncated"


def test_program_starting_formats_are_not_opened():
    with pytest.raises(ImageProblem) as problem:
        encode_image(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", CONFIG)
    assert problem.value.reason == "image_undecodable"


def test_loading_checks_presence_size_and_scheme(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(bytes(100))
    assert load_bytes(str(path), 100) == bytes(100)
    cases = [
        (str(path), 99, "image_too_large", "more than 99 bytes"),
        (str(tmp_path / "b.jpg"), 99, "image_missing", "cannot be opened (No such file"),
        (str(tmp_path), 99, "image_missing", "cannot be opened (Is a directory"),
        (f"{tmp_path}/a\0b.jpg", 99, "image_missing", "cannot be opened (embedded null byte)"),
        (f"{tmp_path}/{'a' * 300}", 99, "image_missing", "cannot be opened (File name too long"),
        ("https://example.org/a.jpg", 99, "image_missing", "not fetched over HTTP"),
    ]
    for place, bound, reason, message in cases:
        with pytest.raises(ImageProblem) as problem:
            load_bytes(place, bound)
        assert problem.value.reason == reason
        assert message in str(problem.value)


def test_uris_resolve_to_places():
    assert resolve_uri("file:///a%20b.jpg", "/root") == "/a b.jpg"
    assert resolve_uri("file://localhost/[a]#1?.jpg", None) == "/[a]#1?.jpg"
    assert resolve_uri("file://[", None) == "/"
    assert resolve_uri("/abs/a.jpg", "/root") == "/abs/a.jpg"
    assert resolve_uri("sub/a.jpg", "/root/") == "/root/sub/a.jpg"
    assert resolve_uri("gs://bucket/a.jpg", "/root") == "gs://bucket/a.jpg"


def test_only_image_suffixes_are_stripped():
    assert [strip_suffix(i) for i in ("a.JPG", "v1.2", "b.x.png", ".png", "a")] == [
        "a",
        "v1.2",
        "b.x",
        ".png",
        "a",
    ]
