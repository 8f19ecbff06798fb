import contextlib
import io
import struct

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from serving.images import upright_rgb
from tests.pictures import exif_data, png_file, saved
from vl_models.input.decoding import decode_window

RANDOM = np.random.default_rng(0)
GREY, RGB, PALETTE, GREY_ALPHA = 0, 2, 3, 4
WHITE = [255] * 3


def noise(height, width):
    return RANDOM.integers(0, 256, (height, width, 3)).astype(np.uint8)


def smooth(height, width):
    rows = ((np.arange(height) + 0.5) * 255 / height)[:, None, None]
    columns = ((np.arange(width) + 0.5) * 255 / width)[None, :, None]
    return np.broadcast_to((rows + 3 * columns) / 4, (height, width, 3)).astype(np.uint8)


def png(image):
    return tf.io.encode_png(image)


def decode_image(encoded):
    return decode_window(encoded, lambda height, width: (0, 0, height, width))


def test_png_is_decoded_exactly():
    image = noise(7, 9)
    np.testing.assert_array_equal(decode_image(png(image)), image)


def test_jpeg_is_decoded_closely():
    image = smooth(32, 48)
    decoded = decode_image(tf.io.encode_jpeg(image, quality=95)).numpy()
    assert decoded.dtype == np.uint8
    assert np.abs(decoded.astype(int) - image).max() <= 4


def test_grayscale_is_spread_over_three_channels():
    image = noise(6, 6)[..., :1]
    for encoded in (tf.io.encode_png(image), tf.io.encode_jpeg(smooth(8, 8)[..., :1])):
        decoded = decode_image(encoded).numpy()
        assert decoded.shape[2] == 3
        assert (decoded[..., :1] == decoded).all()
    np.testing.assert_array_equal(decode_image(png(image))[..., :1], image)


def test_transparency_is_put_on_white():
    image = np.array([[[10, 20, 30, 0], [10, 20, 30, 255], [0, 100, 200, 51]]], np.uint8)
    np.testing.assert_array_equal(
        decode_image(tf.io.encode_png(image)), [[[255] * 3, [10, 20, 30], [204, 224, 244]]]
    )


@pytest.mark.parametrize("encoded", [b"", b"no image", bytes(png(noise(8, 8)).numpy())[:40]])
def test_undecodable_bytes_raise(encoded):
    with pytest.raises(tf.errors.InvalidArgumentError):
        decode_image(tf.constant(encoded))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_jpeg_is_turned_as_the_training_data_are(orientation, order):
    encoded = saved(Image.fromarray(smooth(24, 40)), quality=95, exif=exif_data(orientation, order))
    expected = np.asarray(upright_rgb(Image.open(io.BytesIO(encoded))))
    assert expected.shape == ((24, 40, 3) if orientation < 5 else (40, 24, 3))
    found = decode_image(tf.constant(encoded)).numpy()
    assert np.abs(found.astype(int) - expected).max() <= 4


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_window_is_one_of_the_turned_image(orientation):
    encoded = tf.constant(saved(Image.fromarray(smooth(32, 48)), exif=exif_data(orientation)))
    sides = []

    def window(height, width):
        sides.append((int(height), int(width)))
        return 3, 5, 20, 10

    found = decode_window(encoded, window).numpy()
    whole = decode_image(encoded).numpy()
    assert sides == [whole.shape[:2]]
    np.testing.assert_array_equal(found, whole[3:23, 5:15])


@pytest.mark.parametrize(("side", "divisor"), [(51, 1), (50, 2), (25, 4), (12, 8), (1, 8)])
@pytest.mark.parametrize("orientation", [1, 6])
def test_a_large_jpeg_is_decoded_at_the_smallest_scale_that_leaves_enough(
    side, divisor, orientation
):
    image = Image.fromarray(smooth(240, 320))
    encoded = tf.constant(saved(image, quality=95, exif=exif_data(orientation)))
    window = (16, 8, 200, 160)  # its longer side is 4 x 50
    found = decode_window(encoded, lambda height, width: window, side).numpy()
    full = decode_window(encoded, lambda height, width: window).numpy().astype(float)
    small = full.reshape(200 // divisor, divisor, 160 // divisor, divisor, 3).mean(axis=(1, 3))
    assert found.shape == small.shape
    assert np.abs(found - small).mean() <= 1.5


@pytest.mark.parametrize(
    ("encoded", "expected"),
    [
        (png_file(2, [bytes([0b01000000])], 1, GREY), [[0] * 3, WHITE]),
        (png_file(2, [bytes([0b01_10_0000])], 2, GREY), [[85] * 3, [170] * 3]),
        (png_file(2, [bytes([0x3C])], 4, GREY), [[51] * 3, [204] * 3]),
        (png_file(2, [bytes([9, 10])], 8, GREY, [(b"tRNS", b"\0\x09")]), [WHITE, [10] * 3]),
        (png_file(2, [bytes([0b01_10_0000])], 2, GREY, [(b"tRNS", b"\0\1")]), [WHITE, [170] * 3]),
        (png_file(2, [struct.pack(">2H", 1000, 40_000)], 16, GREY), [[3] * 3, [156] * 3]),
        (png_file(2, [bytes([200, 0, 9, 255])], 8, GREY_ALPHA), [WHITE, [9] * 3]),
        (
            png_file(2, [b"\0\1"], 8, PALETTE, [(b"PLTE", bytes([9] * 3 + [7] * 3))]),
            [[9] * 3, [7] * 3],
        ),
        (
            png_file(
                2, [b"\0\1"], 8, PALETTE, [(b"PLTE", bytes([9] * 3 + [7] * 3)), (b"tRNS", b"\0")]
            ),
            [WHITE, [7] * 3],
        ),
        (
            png_file(2, [struct.pack(">6H", 1000, 2000, 3000, 65_535, 0, 256)], 16, RGB),
            [[3, 7, 11], [255, 0, 1]],
        ),
    ],
)
def test_png_of_every_kind_is_as_in_the_training_data(encoded, expected):
    np.testing.assert_array_equal(decode_image(tf.constant(encoded)), [expected])
    np.testing.assert_array_equal(upright_rgb(Image.open(io.BytesIO(encoded))), [expected])


@pytest.mark.parametrize("adobe", [True, False])
def test_inks_of_jpeg_are_as_in_the_training_data(adobe):
    encoded = saved(Image.new("CMYK", (16, 16), (0, 100, 200, 50)), quality=100)
    if not adobe:
        at = encoded.index(b"\xff\xee")
        encoded = encoded[:at] + encoded[at + 2 + int.from_bytes(encoded[at + 2 : at + 4], "big") :]
    expected = np.asarray(upright_rgb(Image.open(io.BytesIO(encoded)))).astype(int)
    found = decode_image(tf.constant(encoded)).numpy().astype(int)
    assert found.shape == (16, 16, 3)
    assert np.abs(found - expected).max() <= 2


def test_bmp_is_decoded_exactly():
    image = noise(7, 9)
    np.testing.assert_array_equal(decode_image(saved(Image.fromarray(image), "BMP")), image)


def test_the_fourth_byte_of_bmp_is_no_transparency():
    image = noise(3, 4)
    rows = np.concatenate([image[::-1, :, ::-1], np.zeros((3, 4, 1), np.uint8)], -1).tobytes()
    header = struct.pack("<IiiHHIIiiII", 40, 4, 3, 1, 32, 0, len(rows), 0, 0, 0, 0)
    encoded = b"BM" + struct.pack("<IHHI", 54 + len(rows), 0, 0, 54) + header + rows
    np.testing.assert_array_equal(decode_image(tf.constant(encoded)), image)


def gif(colours, transparency=None, size=(5, 4), place=(0, 0), extensions=b""):
    """Each frame of one colour: written by hand, as Pillow optimises frames away."""
    header = b"GIF89a" + struct.pack("<HHBBB", 5, 4, 0x80 | 1, 0, 0)
    data = header + bytes([255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9]) + extensions
    for colour in colours:
        if transparency is not None:
            data += b"\x21\xf9\x04\x01\0\0" + bytes([transparency, 0])
        data += b"\x2c" + struct.pack("<HHHHB", *place, *size, 0)
        data += b"\x02" + _uncompressed(colour, size[0] * size[1]) + b"\0"
    return data + b"\x3b"


def _uncompressed(colour, count):
    """A block of LZW with codes of 3 bits: the table is cleared before it grows."""
    codes = []
    for i in range(count):
        codes += [4, colour] if i % 2 == 0 else [colour]
    bits = sum(code << (3 * place) for place, code in enumerate([*codes, 5]))
    data = bits.to_bytes((3 * len(codes) + 10) // 8, "little")
    return bytes([len(data)]) + data


COMMENT = b"\x21\xfe\x05words\x03abc\0"
NETSCAPE = b"\x21\xff\x0bNETSCAPE2.0\x03\x01\0\0\0"


@pytest.mark.parametrize("extensions", [b"", COMMENT + NETSCAPE, b"\x21\xf9\x04\0\0\0\1\0"])
def test_the_first_frame_of_a_gif_is_decoded(extensions):
    encoded = gif([1, 2], extensions=extensions)
    expected = np.tile(np.array([0, 255, 0], np.uint8), (4, 5, 1))
    np.testing.assert_array_equal(upright_rgb(Image.open(io.BytesIO(encoded))), expected)
    np.testing.assert_array_equal(decode_image(tf.constant(encoded)), expected)


def test_a_gif_whose_later_frames_are_transparent_is_decoded():
    first, both = gif([1]), gif([2], transparency=0)
    encoded = first[:-1] + both[both.index(b"\x21\xf9") :]
    expected = np.tile(np.array([0, 255, 0], np.uint8), (4, 5, 1))
    np.testing.assert_array_equal(decode_image(tf.constant(encoded)), expected)


REMEDY = r" Convert it first: serving\.images\.servable_image does\."
FRAMES = [Image.new("RGB", (5, 4), colour) for colour in ("red", "blue")]


@pytest.mark.parametrize(
    ("encoded", "message"),
    [
        (b"", r"an image is none of JPEG, PNG, GIF and BMP\."),
        (b"no image", r"an image is none of JPEG, PNG, GIF and BMP\."),
        (saved(FRAMES[0], "TIFF"), r"an image is none of JPEG, PNG, GIF and BMP\."),
        (saved(FRAMES[0], "WEBP"), r"an image is none of JPEG, PNG, GIF and BMP\."),
        (
            saved(FRAMES[0], "WEBP", save_all=True, append_images=FRAMES[1:]),
            r"an image is none of JPEG, PNG, GIF and BMP\.",
        ),
        (gif([1], transparency=1), r"a GIF has transparent parts\."),
        (gif([1], transparency=2, extensions=COMMENT), r"a GIF has transparent parts\."),
        (gif([1], size=(4, 4)), r"a GIF has transparent parts\."),
        (gif([1], size=(5, 3), place=(0, 1)), r"a GIF has transparent parts\."),
        (saved(Image.new("P", (5, 4)), "BMP"), r"a BMP has a palette or is compressed\."),
        (saved(Image.new("1", (5, 4)), "BMP"), r"a BMP has a palette or is compressed\."),
        (b"BM", r"a BMP has a palette or is compressed\."),
    ],
)
def test_what_tensorflow_would_not_decode_rightly_is_refused(encoded, message):
    with pytest.raises(tf.errors.InvalidArgumentError, match=message + REMEDY):
        decode_image(tf.constant(encoded))


def test_files_cut_anywhere_are_decoded_or_refused():
    whole = [
        saved(Image.fromarray(noise(4, 5)), exif=exif_data(6)),
        gif([1, 2], extensions=COMMENT),
        saved(Image.fromarray(noise(4, 5)), "BMP"),
        saved(Image.fromarray(noise(4, 5)), "PNG"),
    ]
    decode = tf.function(decode_image, input_signature=[tf.TensorSpec([], tf.string)])
    for data in whole:
        for length in range(0, len(data), 7):
            with contextlib.suppress(tf.errors.InvalidArgumentError):
                assert decode(data[:length]).shape[2] == 3
