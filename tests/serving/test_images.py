import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from serving.errors import ServingError
from serving.images import servable_image, upright_rgb
from tests.pictures import (
    ASCII,
    LONG,
    RESOLUTION_UNIT,
    SHORT,
    exif_data,
    png_chunk,
    png_file,
    saved,
)

WRONG_TYPE = (RESOLUTION_UNIT, ASCII, b"abc\0")
# PNG's colour types.
GREY, RGB, PALETTE, GREY_ALPHA = 0, 2, 3, 4
RED, GREEN, WHITE = [255, 0, 0], [0, 255, 0], [255, 255, 255]

# Four quarters, told apart after any turn.
QUARTERS = np.zeros((16, 32, 3), np.uint8)
QUARTERS[:8, :16, 0], QUARTERS[:8, 16:, 1], QUARTERS[8:, :16, 2] = 255, 255, 255
# What to do to show a file of each orientation upright (EXIF 2.3, 4.6.4).
UPRIGHT = {
    1: lambda x: x,
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.transpose(1, 0, 2),
    6: lambda x: np.rot90(x, -1),
    7: lambda x: np.rot90(x, -1)[::-1],
    8: lambda x: np.rot90(x),
}


def opened(data):
    return Image.open(io.BytesIO(data))


def pixels(data):
    return np.asarray(upright_rgb(opened(data)))


def tiff(values, **tags):
    return saved(Image.fromarray(values), "TIFF", **tags)


def with_tag(data, tag, value, kind=SHORT):
    """A little-endian TIFF with another number of 16 bits in a tag."""
    at = data.index(struct.pack("<HHI", tag, kind, 1)) + 8
    return data[:at] + struct.pack("<H", value) + data[at + 2 :]


@pytest.mark.parametrize("kind", [SHORT, LONG])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", UPRIGHT)
def test_orientation_is_applied(orientation, order, kind):
    exif = exif_data(orientation, order, kind, more=[WRONG_TYPE])
    data = saved(Image.fromarray(QUARTERS), "PNG", exif=exif)
    np.testing.assert_array_equal(pixels(data), UPRIGHT[orientation](QUARTERS))


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "AVIF", "TIFF"])
def test_orientation_is_applied_in_every_format_that_has_it(kind):
    exif = exif_data(6) if kind != "TIFF" else Image.Exif()
    if kind == "TIFF":
        exif[274] = 6
    found = pixels(saved(Image.fromarray(QUARTERS), kind, exif=exif)).astype(int)
    expected = UPRIGHT[6](QUARTERS)
    assert found.shape == expected.shape
    assert np.abs(found - expected)[4, 4].max() < 30  # within a quarter


@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0",
        b"Exif\0\0II*\0",
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        b"Exif\0\0XX*\0\x08\0\0\0",
        exif_data(6)[:-10],
        exif_data(0),
        exif_data(9),
        exif_data(6).replace(struct.pack("<HHI", 274, SHORT, 1), struct.pack("<HHI", 274, 99, 1)),
        exif_data(6).replace(struct.pack("<HHI", 274, SHORT, 1), struct.pack("<HHI", 274, 1, 1)),
    ],
)
def test_an_orientation_that_cannot_be_read_turns_nothing(exif):
    data = saved(Image.fromarray(QUARTERS), "PNG", exif=exif)
    np.testing.assert_array_equal(pixels(data), QUARTERS)


GREYS = np.array([[0, 1000, 32_768, 65_535]])


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (saved(Image.fromarray(GREYS.astype(np.uint16)), "PNG"), [0, 3, 128, 255]),
        (tiff(GREYS.astype("<u2")), [0, 3, 128, 255]),
        (tiff(GREYS.astype(">u2")), [0, 3, 128, 255]),
        (with_tag(tiff(GREYS.astype("<u2")), 262, 0), [255, 252, 127, 0]),  # white is 0
        (tiff(GREYS.astype(np.int32)), [0, 3, 128, 255]),
        (tiff(np.array([[0, 3, 128, 255]], np.int32)), [0, 3, 128, 255]),
        (tiff(np.array([[0, 1 << 29, 1 << 30, (1 << 31) - 1]], np.int32)), [0, 64, 128, 255]),
        (tiff(np.array([[0, 0.25, 0.5, 1]], np.float32)), [0, 64, 128, 255]),
        (tiff(np.array([[0, 3, 127.6, 255]], np.float32)), [0, 3, 128, 255]),
        (tiff(GREYS.astype(np.float32)), [0, 4, 128, 255]),
        (with_tag(tiff(np.array([[0, 0.25, 0.5, 1]], np.float32)), 262, 0), [255, 191, 127, 0]),
    ],
)
def test_greys_of_more_than_8_bits_are_scaled(data, expected):
    np.testing.assert_array_equal(pixels(data), [[[grey] * 3 for grey in expected]])


def test_greys_of_12_bits_are_scaled():
    # Two values of 12 bits in 3 bytes, most significant bits first: 0 and 4095, 2048 and 16.
    data = with_tag(tiff(np.array([[0, 0, 0]], np.uint16)), 258, 12)
    data = with_tag(data, 256, 4, LONG)  # the width
    packed = bytes([0x00, 0x0F, 0xFF, 0x80, 0x00, 0x10])
    assert data.endswith(bytes(6))
    expected = [[[grey] * 3 for grey in (0, 255, 128, 1)]]
    np.testing.assert_array_equal(pixels(data[:-6] + packed), expected)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.array([[-1, 300]], np.float32), "greys from -1 to 300,"),
        (np.array([[0, 1e6]], np.float32), "greys from 0 to 1e+06,"),
        (np.array([[0, np.inf]], np.float32), "greys from 0 to inf,"),
        (np.array([[0, np.nan]], np.float32), "greys from nan to nan,"),
        (np.array([[-5, 7]], np.int32), "greys from -5 to 7,"),
    ],
)
def test_greys_without_a_scale_are_refused(values, message):
    with pytest.raises(ValueError, match=message.replace("+", r"\+")):
        pixels(tiff(values))


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        # A colour of tRNS is in the depth of the file.
        (png_file(2, [bytes([0b01_10_0000])], 2, GREY, [(b"tRNS", b"\0\1")]), [WHITE, [170] * 3]),
        (png_file(2, [bytes([0x3C])], 4, GREY, [(b"tRNS", b"\0\3")]), [WHITE, [204] * 3]),
        (png_file(2, [bytes([0b01000000])], 1, GREY, [(b"tRNS", b"\0\0")]), [WHITE, WHITE]),
        (
            png_file(2, [struct.pack(">2H", 1000, 40_000)], 16, GREY, [(b"tRNS", b"\x03\xe8")]),
            [WHITE, [156] * 3],
        ),
        (
            png_file(
                2,
                [struct.pack(">6H", 1000, 2000, 3000, 65_535, 0, 256)],
                16,
                RGB,
                [(b"tRNS", struct.pack(">3H", 1000, 2000, 3000))],
            ),
            [WHITE, [255, 0, 1]],
        ),
        (
            png_file(2, [struct.pack(">4H", 40_000, 65_535, 1000, 0)], 16, GREY_ALPHA),
            [[156] * 3, WHITE],
        ),
        (
            png_file(2, [b"\0\1"], 8, PALETTE, [(b"PLTE", bytes(RED + GREEN)), (b"tRNS", b"\x80")]),
            [[255, 127, 127], GREEN],
        ),
        (
            saved(Image.fromarray(np.array([[[9, 0, 0, 0], [0, 255, 0, 255]]], np.uint8)), "PNG"),
            [WHITE, GREEN],
        ),
        (
            saved(Image.fromarray(np.array([[[9, 0], [7, 255]]], np.uint8), "LA"), "PNG"),
            [WHITE, [7] * 3],
        ),
        (saved(Image.fromarray(np.array([[True, False]])), "PNG"), [WHITE, [0] * 3]),
        (saved(Image.fromarray(np.array([[True, False]])), "TIFF"), [WHITE, [0] * 3]),
    ],
)
def test_depths_palettes_and_transparency(data, expected):
    np.testing.assert_array_equal(pixels(data), [expected])


def cmyk_jpeg(inks, transform):
    """A CMYK JPEG of one colour whose Adobe marker says `transform`; without one for None."""
    data = saved(Image.new("CMYK", (16, 16), inks), quality=100)
    at = data.index(b"\xff\xee")
    length = int.from_bytes(data[at + 2 : at + 4], "big")
    if transform is None:
        return data[:at] + data[at + 2 + length :]
    return data[: at + 1 + length] + bytes([transform]) + data[at + 2 + length :]


def test_inks_of_jpeg():
    # Adobe stores 255 - ink, in YCCK after a conversion of CMY as if it were RGB.
    cyan, magenta, yellow, black = 0, 100, 200, 50
    light = np.array([255 - cyan, 255 - magenta, 255 - yellow])
    expected = np.rint(light * (255 - black) / 255)
    data = cmyk_jpeg((cyan, magenta, yellow, black), transform=0)
    assert np.abs(pixels(data)[8, 8] - expected).max() <= 2
    # Without the marker they are stored as they are, so the file says the opposite.
    data = cmyk_jpeg((255 - cyan, 255 - magenta, 255 - yellow, 255 - black), transform=None)
    assert np.abs(pixels(data)[8, 8] - expected).max() <= 2
    converted = Image.new("RGB", (1, 1), (cyan, magenta, yellow)).convert("YCbCr").getpixel((0, 0))
    stored = tuple(255 - value for value in (*converted, 255 - black))
    data = cmyk_jpeg(stored, transform=2)
    assert opened(data).info["adobe_transform"] == 2
    assert np.abs(pixels(data)[8, 8] - expected).max() <= 3


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "TIFF", "PNG"])
def test_of_several_frames_the_first_counts(kind):
    frames = [Image.new("RGB", (4, 2), colour) for colour in ("red", "blue", "green")]
    options = {"lossless": True} if kind == "WEBP" else {}
    data = saved(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert opened(data).n_frames == 3
    np.testing.assert_array_equal(pixels(data), np.tile(RED, (2, 4, 1)))


@pytest.mark.parametrize(
    "data",
    [
        saved(Image.fromarray(QUARTERS), exif=exif_data(6)),
        saved(Image.fromarray(QUARTERS), "PNG"),
        saved(Image.fromarray(GREYS.astype(np.uint16)), "PNG"),
        saved(Image.fromarray(QUARTERS), "PNG", exif=exif_data(1)),
    ],
)
def test_what_the_tower_decodes_is_sent_as_it_is(data):
    assert servable_image(data) is data


@pytest.mark.parametrize(
    ("kind", "options", "sent"),
    [
        ("WEBP", {"lossless": True}, "JPEG"),
        ("AVIF", {"quality": 95}, "JPEG"),
        ("TIFF", {}, "PNG"),
        ("BMP", {}, "PNG"),
        ("GIF", {}, "PNG"),
        ("PNG", {"exif": exif_data(3)}, "PNG"),
    ],
)
def test_other_formats_are_converted(kind, options, sent):
    data = saved(Image.fromarray(QUARTERS), kind, **options)
    found = opened(servable_image(data))
    assert found.format == sent
    expected = QUARTERS[::-1, ::-1] if "exif" in options else QUARTERS
    difference = np.abs(np.asarray(found).astype(int) - expected)
    assert difference[4::8, 4::8].max() <= (0 if sent == "PNG" else 12)


def test_what_is_no_image_is_refused():
    with pytest.raises(ServingError) as error:
        servable_image(b"no image")
    assert str(error.value) == (
        "The image is none of JPEG, PNG, WEBP, GIF, BMP, TIFF, AVIF, or its header is broken."
    )
    with pytest.raises(ServingError, match=r"^The image cannot be decoded: greys from -5 to 7,"):
        servable_image(tiff(np.array([[-5, 7]], np.int32)))


def test_a_picture_with_broken_metadata_is_converted():
    bomb = (b"zTXt", b"a\0\0" + zlib.compress(bytes(80_000_000)))
    data = png_file(2, [b"\0\7"], 8, GREY, [bomb, (b"eXIf", exif_data(3)[6:])])
    np.testing.assert_array_equal(np.asarray(opened(servable_image(data)))[..., 0], [[7, 0]])
    assert png_chunk(b"eXIf", exif_data(3)[6:]) in data
