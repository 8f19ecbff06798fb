"""Refuses images that are small as files and huge once decoded, before TensorFlow decodes them.

Only headers are read: what looks like an image is measured, everything else is let through, and an
image that cannot be decoded is TensorFlow's to refuse. Formats are those of tf.io.decode_image:
JPEG (ITU T.81, B.1.1), PNG (section 11.2.2), GIF89a, BMP (BITMAPINFOHEADER), WebP (RFC 9649).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

import numpy as np

from serving.errors import invalid

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"
_SMALLEST = 24
# First bytes of the formats: what begins with another is no image.
_FIRST = frozenset(b"\x89\xffGBR")
# JPEG's start-of-frame markers: C0..CF without DHT (C4), JPG (C8) and DAC (CC).
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def check_images(inputs: Mapping[str, np.ndarray], most: int) -> None:
    """Refuses an image of more than `most` pixels, all frames together, in arrays of `bytes`.

    Args:
        inputs: arrays by input name; those that hold no strings are not looked at.
        most: 0 is no limit.

    Raises:
        StatusError: INVALID_ARGUMENT, naming the input and the item.
    """
    if not most:
        return
    for name, array in inputs.items():
        if array.dtype == object:
            _check(name, array.ravel(), most)


def _check(name: str, values: Iterable[object], most: int) -> None:
    for i, value in enumerate(values):
        if not isinstance(value, bytes) or len(value) < _SMALLEST or value[0] not in _FIRST:
            continue
        if (pixels := image_pixels(value, most)) > most:
            raise invalid(
                f'Item {i} of input "{name}" is an image of {pixels} pixels or more; this server '
                f"decodes at most {most} (max_image_pixels).",
            )


def image_pixels(data: bytes, most: int = 0) -> int:
    """Pixels of an image, all frames together; 0 if `data` is no image, or its header is broken.

    Args:
        data: a whole file.
        most: counting of frames may stop above so many.
    """
    try:
        if data.startswith(_PNG):
            return _big(data, 16, 4) * _big(data, 20, 4)
        if data.startswith(_JPEG):
            return _jpeg_pixels(data)
        if data.startswith((b"GIF87a", b"GIF89a")):
            return _gif_pixels(data, most)
        if data.startswith(b"BM"):
            return _bmp_pixels(data)
        if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
            return _webp_pixels(data, most)
    except IndexError:
        pass
    return 0


def _jpeg_pixels(data: bytes) -> int:
    at = 2
    while True:
        if data[at] != 0xFF:
            return 0
        while data[at] == 0xFF:
            at += 1
        marker = data[at]
        if marker in _FRAMES:
            # Length (2), precision (1), lines (2), samples per line (2).
            return _big(data, at + 4, 2) * _big(data, at + 6, 2)
        if marker in (0xD9, 0xDA):
            return 0
        at += 1
        # Restart markers and TEM stand alone; all others are followed by their length.
        if not (0xD0 <= marker <= 0xD8 or marker == 0x01):
            at += max(2, _big(data, at, 2))


def _gif_pixels(data: bytes, most: int) -> int:
    """Return the canvas, once per frame: that is what an animation is decoded into."""
    canvas = _little(data, 6, 2) * _little(data, 8, 2)
    flags = data[10]
    at = 13 + _gif_table(flags)
    frames = 0
    try:
        while data[at] != 0x3B:
            if data[at] == 0x21:
                at += 2
            elif data[at] == 0x2C:
                frames += 1
                if most and frames * canvas > most:
                    break
                at += 10
                # The local colour table, and the size of LZW codes.
                at += _gif_table(data[at - 1]) + 1
            else:
                break
            # Sub-blocks, each after its length; one of length 0 ends them.
            while data[at]:
                at += data[at] + 1
            at += 1
    except IndexError:
        # Cut short: what was seen counts.
        pass
    return canvas * max(frames, 1)


def _gif_table(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _bmp_pixels(data: bytes) -> int:
    # A negative height means rows from top to bottom.
    width, height = (int.from_bytes(data[i : i + 4], "little", signed=True) for i in (18, 22))
    return abs(width * height)


def _webp_pixels(data: bytes, most: int) -> int:
    kind = data[12:16]
    if kind == b"VP8 ":
        return (_little(data, 26, 2) & 0x3FFF) * (_little(data, 28, 2) & 0x3FFF)
    if kind == b"VP8L":
        bits = _little(data, 21, 4)
        return ((bits & 0x3FFF) + 1) * ((bits >> 14 & 0x3FFF) + 1)
    if kind != b"VP8X":
        return 0
    canvas = (_little(data, 24, 3) + 1) * (_little(data, 27, 3) + 1)
    frames, at = 0, 12
    while at + 8 <= len(data):
        if data[at : at + 4] == b"ANMF":
            frames += 1
            if most and frames * canvas > most:
                break
        size = _little(data, at + 4, 4)
        at += 8 + size + size % 2
    return canvas * max(frames, 1)


def _big(data: bytes, at: int, size: int) -> int:
    return _integer(data, at, size, "big")


def _little(data: bytes, at: int, size: int) -> int:
    return _integer(data, at, size, "little")


def _integer(data: bytes, at: int, size: int, order: Literal["big", "little"]) -> int:
    field = data[at : at + size]
    if len(field) < size:
        raise IndexError
    return int.from_bytes(field, order)
