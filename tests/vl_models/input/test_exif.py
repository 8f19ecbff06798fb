import struct

import pytest
import tensorflow as tf
from PIL import Image

from tests.pictures import ASCII, LONG, RESOLUTION_UNIT, SHORT, exif_data, saved
from vl_models.input.exif import jpeg_orientation

IMAGE = Image.new("RGB", (8, 8))
WRONG_TYPE = (RESOLUTION_UNIT, ASCII, b"abc\0")
# The data of an APP2 segment, as long as one can be.
PROFILE = b"ICC_PROFILE\0" + bytes(65_521)


@pytest.fixture(scope="module")
def read():
    return tf.function(jpeg_orientation, input_signature=[tf.TensorSpec([], tf.string)])


def segment(marker, data):
    return bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data


@pytest.mark.parametrize("kind", [SHORT, LONG])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_read(read, orientation, order, kind):
    more = [WRONG_TYPE, (256, LONG, struct.pack(order + "L", 8)), (305, ASCII, b"me\0\0")]
    data = saved(IMAGE, exif=exif_data(orientation, order, kind, more))
    assert read(data).numpy() == orientation
    assert read(data).dtype == tf.int32


@pytest.mark.parametrize(
    "front",
    [
        b"",
        segment(0xE0, b"JFIF\0" + bytes(9)),
        segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x/>"),
        segment(0xE2, PROFILE) * 20,
        segment(0xFE, b"words"),
        b"\xff\xff",
    ],
)
def test_other_segments_may_come_first(read, front):
    data = b"\xff\xd8" + front + segment(0xE1, exif_data(6)) + saved(IMAGE)[2:]
    assert read(data).numpy() == 6


@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0",
        b"Exif\0\0II*\0",
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        b"Exif\0\0II*\0\xff\xff\xff\x7f",
        b"Exif\0\0II*\0\x08\0\0\0\xff\xff",
        b"Exif\0\0XX*\0" + exif_data(6)[10:],
        exif_data(6)[:-10],
        exif_data(0),
        exif_data(9),
        exif_data(70_000, kind=LONG),
        exif_data(6).replace(struct.pack("<HHI", 274, SHORT, 1), struct.pack("<HHI", 274, 99, 1)),
        exif_data(6).replace(struct.pack("<HHI", 274, SHORT, 1), struct.pack("<HHI", 274, 2, 1)),
        exif_data(6).replace(struct.pack("<HHI", 274, SHORT, 1), struct.pack("<HHI", 274, 3, 9)),
    ],
)
def test_what_cannot_be_read_is_upright(read, exif):
    assert read(b"\xff\xd8" + segment(0xE1, exif) + saved(IMAGE)[2:]).numpy() == 1


def test_no_exif_data_are_upright(read):
    assert read(saved(IMAGE)).numpy() == 1


def test_exif_data_behind_the_picture_do_not_count(read):
    assert read(saved(IMAGE) + segment(0xE1, exif_data(6))).numpy() == 1


def test_a_file_cut_anywhere_is_read(read):
    data = saved(IMAGE, exif=exif_data(6))
    found = [int(read(data[:length])) for length in range(3, 120)]
    assert found == sorted(found) and set(found) == {1, 6}
