"""The orientation tag of JPEG files, read in the graph (EXIF 2.3, section 4.5; TIFF 6.0)."""

from __future__ import annotations

import tensorflow as tf

_ORIENTATION_TAG = 0x0112
# Types of a tag's value.
_SHORT, _LONG = 3, 4
# Markers of JPEG.
_APP0, _APP1, _TABLES, _START_OF_SCAN, _END_OF_IMAGE = 0xE0, 0xE1, 0xDB, 0xDA, 0xD9
_MOST_SEGMENTS = 64


def jpeg_orientation(encoded: tf.Tensor) -> tf.Tensor:
    """Return the orientation that the EXIF data of a JPEG file declare.

    Args:
        encoded: string scalar.

    Returns:
        int32 scalar, 1 (upright) to 8; 1 if there are no EXIF data, or none that can be read.
    """
    # Most files, all of the training data among them, go on with tables behind the JFIF segment.
    markers = tf.gather(bytes_at(encoded, 0, 24), [2, 3, 20, 21])
    is_plain = tf.reduce_all(markers == [0xFF, _APP0, 0xFF, _TABLES])
    return tf.cond(is_plain, lambda: tf.constant(1), lambda: _searched(encoded))


def bytes_at(text: tf.Tensor, start: tf.Tensor | int, count: int) -> tf.Tensor:
    """Bytes of a string scalar as int32 [count]; zeros behind its end."""
    start = tf.minimum(start, tf.strings.length(text))
    return tf.cast(
        tf.io.decode_raw(tf.strings.substr(text, start, count), tf.uint8, fixed_length=count),
        tf.int32,
    )


def unsigned(values: tf.Tensor, big_endian: tf.Tensor | bool = False) -> tf.Tensor:
    """Numbers of bytes: int32 [..., n] of static n to int64 [...]."""
    weights = [256**place for place in range(values.shape[-1])]
    order = tf.where(
        big_endian, tf.constant(weights[::-1], tf.int64), tf.constant(weights, tf.int64)
    )
    return tf.reduce_sum(tf.cast(values, tf.int64) * order, axis=-1)


def _searched(encoded: tf.Tensor) -> tf.Tensor:
    tiff = _exif_block(encoded)
    found = tf.strings.length(tiff) > 0
    return tf.cond(found, lambda: _orientation_of(tiff), lambda: tf.constant(1))


def _exif_block(encoded: tf.Tensor) -> tf.Tensor:
    """Return the TIFF structure within the first EXIF segment; empty if there is none."""
    end = tf.strings.length(encoded)

    def more(at: tf.Tensor, block: tf.Tensor) -> tf.Tensor:
        return (at + 4 <= end) & (tf.strings.length(block) == 0)

    def step(at: tf.Tensor, block: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        head = bytes_at(encoded, at, 10)
        marker, size = head[1], tf.maximum(head[2] * 256 + head[3], 2)
        is_exif = (marker == _APP1) & tf.reduce_all(head[4:] == list(b"Exif\0\0"))
        last = (head[0] != 0xFF) | (marker == _START_OF_SCAN) | (marker == _END_OF_IMAGE)
        behind = tf.where(marker == 0xFF, at + 1, at + 2 + size)  # 0xFF twice is padding
        length = tf.where(is_exif, tf.maximum(size - 8, 0), 0)
        block = tf.strings.substr(encoded, tf.minimum(at + 10, end), length)
        return tf.where(last, end, behind), block

    start = (tf.constant(2), tf.constant(b""))
    return tf.while_loop(more, step, start, maximum_iterations=_MOST_SEGMENTS)[1]


def _orientation_of(tiff: tf.Tensor) -> tf.Tensor:
    """Look the tag up in the first directory; broken entries are none."""
    header = bytes_at(tiff, 0, 8)
    big_endian = header[0] == ord("M")
    is_tiff = (header[0] == header[1]) & (big_endian | (header[0] == ord("I")))
    end = tf.cast(tf.strings.length(tiff), tf.int64)
    offset = tf.cast(tf.minimum(unsigned(header[4:], big_endian), end), tf.int32)
    count = tf.cast(unsigned(bytes_at(tiff, offset, 2), big_endian), tf.int32)
    left = tf.maximum((tf.cast(end, tf.int32) - offset - 2) // 12, 0)
    entries = tf.strings.substr(
        tiff, tf.minimum(offset + 2, tf.cast(end, tf.int32)), 12 * tf.minimum(count, left)
    )
    table = tf.cast(tf.reshape(tf.io.decode_raw(entries, tf.uint8), [-1, 12]), tf.int32)
    tag, kind = unsigned(table[:, :2], big_endian), unsigned(table[:, 2:4], big_endian)
    short, long = unsigned(table[:, 8:10], big_endian), unsigned(table[:, 8:], big_endian)
    value = tf.where(kind == _LONG, long, short)
    known = (kind == _SHORT) | (kind == _LONG)
    single = unsigned(table[:, 4:8], big_endian) == 1
    found = is_tiff & (tag == _ORIENTATION_TAG) & known & single & (value >= 1) & (value <= 8)
    return tf.reduce_max(tf.concat([[1], tf.cast(tf.where(found, value, 1), tf.int32)], axis=0))
