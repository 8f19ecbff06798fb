"""Broken image files, for the fuzz test and for its long form in benchmarks/."""

from __future__ import annotations

import collections
import dataclasses
import functools
import io
import struct
import warnings
import zlib

import numpy as np
from PIL import Image

from serving.model_server.inference.image_limits import image_pixels
from tests.pictures import ASCII, RESOLUTION_UNIT, exif_data, png_file, saved
from tfx_pipeline.data.config import ImageConfig
from tfx_pipeline.data.contract import Reason
from tfx_pipeline.data.images import ImageProblem, encode_image

# Mutated headers claim sizes that would take seconds: pixels are bounded as on the way in.
CONFIG = ImageConfig(shorter_side=32, max_pixels=1_000_000)
# Every so many files also go through the decoder of the served graph.
GRAPH_EVERY = 7
_INTERESTING = (0, 1, 0x7F, 0x80, 0xFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


@functools.cache
def corpus() -> dict[str, list[bytes]]:
    """Sound files by format."""
    random = np.random.default_rng(0)
    small = random.integers(0, 256, (6, 8, 4)).astype(np.uint8)
    rgba = Image.fromarray(small).resize((48, 36), Image.Resampling.BICUBIC)
    rgb, grey = rgba.convert("RGB"), rgba.convert("L")
    palette = rgb.quantize(16)
    deep = Image.fromarray(np.asarray(grey, np.uint16) * 257)
    frames = {"save_all": True, "append_images": [rgb.rotate(90), rgb.rotate(180)]}
    exif = exif_data(6, more=[(RESOLUTION_UNIT, ASCII, b"abc\0")])
    key = (b"tRNS", struct.pack(">H", 9))
    return {
        "JPEG": [
            saved(rgb, exif=exif, icc_profile=bytes(300)),
            saved(rgb, progressive=True, comment=b"words"),
            saved(grey),
            saved(rgb.convert("CMYK")),
        ],
        "PNG": [
            saved(rgb, "PNG", exif=exif, icc_profile=bytes(300)),
            saved(rgba, "PNG"),
            saved(palette, "PNG", transparency=3),
            saved(deep, "PNG"),
            saved(grey.convert("1"), "PNG"),
            saved(rgb, "PNG", **frames),
            png_file(8, [bytes(range(16))] * 4, 16, 0, [key, (b"tEXt", b"a\0words")]),
        ],
        "GIF": [
            saved(palette, "GIF", comment=b"words"),
            saved(palette, "GIF", transparency=3),
            saved(rgb, "GIF", **frames, duration=40),
        ],
        "WEBP": [
            saved(rgb, "WEBP", exif=exif),
            saved(rgba, "WEBP", lossless=True),
            saved(rgb, "WEBP", **frames),
        ],
        "TIFF": [
            saved(rgb, "TIFF", compression="tiff_lzw"),
            saved(rgb, "TIFF", compression="jpeg"),
            saved(deep, "TIFF"),
            saved(Image.fromarray(np.asarray(grey, np.float32) / 255), "TIFF"),
            saved(grey.convert("1"), "TIFF", compression="group4"),
            saved(rgb, "TIFF", **frames),
        ],
    }


def mutated(seed: int, number: int) -> tuple[str, bytes]:
    """A format, and a file of it with up to four changes; the same for the same numbers."""
    random = np.random.default_rng([seed, number])
    kind = list(corpus())[number % len(corpus())]
    files = corpus()[kind]
    data = bytearray(files[random.integers(len(files))])
    for _ in range(random.integers(1, 5)):
        _change(data, random)
    if kind == "PNG" and random.random() < 0.8:
        _correct_checksums(data)
    return kind, bytes(data)


def _change(data: bytearray, random: np.random.Generator) -> None:
    if not data:
        return
    # Half of the changes meet the headers.
    at = int(random.integers(len(data) if random.random() < 0.5 else min(len(data), 200)))
    length = int(random.integers(1, 17))
    change = random.integers(7)
    if change == 0:
        data[at] ^= 1 << int(random.integers(8))
    elif change == 1:
        data[at] = int(random.integers(256))
    elif change == 2:
        del data[at : at + length]
    elif change == 3:
        data[at:at] = random.bytes(length)
    elif change == 4:
        data[at:at] = data[at : at + length]
    elif change == 5:
        number = int(random.choice(_INTERESTING))
        size = (number.bit_length() + 7) // 8 or 1
        order = ("big", "little")[random.integers(2)]
        data[at : at + size] = number.to_bytes(size, order)
    elif random.random() < 0.2:
        del data[at:]


def _correct_checksums(data: bytearray) -> None:
    at = 8
    while at + 12 <= len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4], "big")
        if end + 4 > len(data):
            return
        data[end : end + 4] = zlib.crc32(data[at + 4 : end]).to_bytes(4, "big")
        at = end + 4


@dataclasses.dataclass
class Outcomes:
    """What became of the files.

    Attributes:
        images: how many became images, by format.
        rejected: how many were rejected, by format and reason.
        decoded: how many the served graph decoded.
        refused: how many it refused.
        failures: number of the file and what went wrong, of those that did neither.
    """

    images: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    rejected: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    decoded: int = 0
    refused: int = 0
    failures: list[tuple[int, str]] = dataclasses.field(default_factory=list)


def run(seed: int, numbers: range) -> Outcomes:
    """Feed mutated files to the builder of training data, and some to the served graph."""
    outcomes = Outcomes()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number in numbers:
            kind, data = mutated(seed, number)
            try:
                _build(kind, data, outcomes)
                if number % GRAPH_EVERY == 0:
                    _decode(data, outcomes)
            except Exception as error:
                outcomes.failures.append((number, f"{type(error).__name__}: {error}"))
    return outcomes


def _build(kind: str, data: bytes, outcomes: Outcomes) -> None:
    try:
        encoded = encode_image(data, CONFIG)
    except ImageProblem as problem:
        assert isinstance(problem.reason, Reason) and problem.message
        outcomes.rejected[f"{kind} {problem.reason}"] += 1
        return
    with Image.open(io.BytesIO(encoded), formats=("JPEG", "PNG")) as image:
        image.load()
        assert image.mode == "RGB"
    outcomes.images[kind] += 1


def _decode(data: bytes, outcomes: Outcomes) -> None:
    import tensorflow as tf

    if image_pixels(data) > CONFIG.max_pixels:  # as the model server does
        return
    try:
        pixels = _graph()(data)
        assert pixels.dtype == tf.uint8 and pixels.shape[2] == 3
        outcomes.decoded += 1
    except tf.errors.InvalidArgumentError:
        outcomes.refused += 1


@functools.cache
def _graph():
    import tensorflow as tf

    from vl_models.input.decoding import decode_window

    return tf.function(
        lambda encoded: decode_window(encoded, lambda height, width: (0, 0, height, width)),
        input_signature=[tf.TensorSpec([], tf.string)],
    )
