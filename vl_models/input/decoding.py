"""Encoded images to pixels in the graph: what TensorFlow decodes, upright and on white.

JPEG and PNG, the first frame of GIF, and BMP, where TensorFlow decodes them rightly; the rest is
refused with a message. WebP is not decoded: TF Serving's release lags behind its decoder, which
moreover ends the process over an animation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from vl_models.input.exif import bytes_at, jpeg_orientation, unsigned

_WHITE = 255
_PNG, _GIF, _BMP = b"\x89PNG", b"GIF8", b"BM"
_REMEDY = "Convert it first: serving.images.servable_image does."


def decode_window(
    encoded: tf.Tensor,
    choose: Callable[[tf.Tensor, tf.Tensor], tuple[tf.Tensor, ...]],
    side: int | None = None,
) -> tf.Tensor:
    """Cut a rectangle out of an encoded image, decoding no more where the format can.

    The result is upright RGB: grayscale is spread, transparency put on white, the orientation tag
    of JPEG applied. Bytes that cannot be decoded, or not rightly, raise InvalidArgumentError when
    the graph runs.

    Args:
        encoded: string scalar: JPEG, PNG, GIF (the first frame, if it has no transparency and fills
            the canvas) or BMP (24 or 32 bits, uncompressed).
        choose: gives top, left, height and width of the rectangle for the upright image's height
            and width; all int32 scalars.
        side: what the longer side of the rectangle will be resampled to. A JPEG is decoded at a
            half, a quarter or an eighth of its scale where twice this many pixels remain.

    Returns:
        uint8 [height, width, 3] of the rectangle, both divided by 2, 4 or 8 at a smaller scale.
    """

    def cut(image: tf.Tensor) -> tf.Tensor:
        shape = tf.shape(image)
        return _part(image, tf.stack(choose(shape[0], shape[1])))

    def from_jpeg() -> tf.Tensor:
        orientation = jpeg_orientation(encoded)
        height, width, _ = tf.unstack(tf.image.extract_jpeg_shape(encoded))
        sides = tf.where(orientation >= 5, [width, height], [height, width])
        window = tf.stack(choose(sides[0], sides[1]))
        halvings = _halvings(tf.reduce_max(window[2:]), side)
        window = tf.bitwise.right_shift(window, halvings)
        return tf.cond(
            orientation == 1,
            lambda: _at_scale(halvings, tf.io.decode_and_crop_jpeg, encoded, window),
            lambda: _part(
                _turned(_at_scale(halvings, tf.io.decode_jpeg, encoded), orientation), window
            ),
        )

    def from_other() -> tf.Tensor:
        decoders = ((_PNG, _decode_png), (_GIF, _decode_gif), (_BMP, _decode_bmp))
        branches = [
            (
                tf.strings.substr(encoded, 0, len(magic)) == magic,
                lambda decode=decode: decode(encoded),
            )
            for magic, decode in decoders
        ]
        return cut(tf.case(branches, default=lambda: _decode_png(_refused(encoded))))

    return tf.cond(tf.io.is_jpeg(encoded), from_jpeg, from_other)


def _part(image: tf.Tensor, window: tf.Tensor) -> tf.Tensor:
    top, left, height, width = tf.unstack(window)
    return image[top : top + height, left : left + width]


def _halvings(length: tf.Tensor, side: int | None) -> tf.Tensor:
    """How often a length can be halved so that twice a side is left, 0 to 3."""
    if side is None:
        return tf.constant(0)
    return tf.reduce_sum(tf.cast(length >= [4 * side, 8 * side, 16 * side], tf.int32))


def _at_scale(halvings: tf.Tensor, decode: Callable[..., tf.Tensor], *inputs: Any) -> tf.Tensor:
    """Decode a JPEG at full scale, 1/2, 1/4 or 1/8, which the decoder has at little cost."""
    return tf.switch_case(
        halvings,
        [
            lambda ratio=ratio: decode(*inputs, channels=3, ratio=ratio)  # type: ignore[misc]
            for ratio in (1, 2, 4, 8)
        ],
    )


def _refused(encoded: tf.Tensor) -> tf.Tensor:
    return _checked(encoded, tf.constant(False), "an image is none of JPEG, PNG, GIF and BMP.")


def _checked(encoded: tf.Tensor, right: tf.Tensor, message: str) -> tf.Tensor:
    """Return the bytes, or end the run of the graph."""
    with tf.control_dependencies([tf.debugging.Assert(right, [f"{message} {_REMEDY}"])]):
        return tf.identity(encoded)


def _turned(image: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Apply an EXIF orientation: transpose, then flip."""
    image = tf.cond(orientation >= 5, lambda: tf.transpose(image, [1, 0, 2]), lambda: image)
    # By orientation, 0 to 8.
    upside_down = tf.gather(
        [False, False, False, True, True, False, False, True, True], orientation
    )
    mirrored = tf.gather([False, False, True, True, False, False, True, True, False], orientation)
    return tf.raw_ops.Reverse(tensor=image, dims=tf.stack([upside_down, mirrored, False]))


def _decode_png(encoded: tf.Tensor) -> tf.Tensor:
    """Decode with transparency, on white: colours under transparent pixels are arbitrary."""
    image = tf.io.decode_png(encoded, channels=4)
    colour, alpha = image[..., :3], image[..., 3:]
    # Where a file has no transparency, TensorFlow's alpha is the largest value of its bit depth.
    depth = bytes_at(encoded, 24, 1)[0]
    opaque = tf.cast(tf.bitwise.left_shift(1, tf.minimum(depth, 8)) - 1, tf.uint8)

    def on_white() -> tf.Tensor:
        opacity = tf.cast(alpha, tf.float32) / _WHITE
        blended = tf.cast(colour, tf.float32) * opacity + _WHITE * (1.0 - opacity)
        return tf.cast(blended + 0.5, tf.uint8)

    return tf.cond(tf.reduce_all(alpha == opaque), lambda: colour, on_white)


def _decode_gif(encoded: tf.Tensor) -> tf.Tensor:
    """Decode the first frame; TensorFlow would show what is transparent in it as black."""
    message = "a GIF has transparent parts."
    whole = _checked(encoded, _gif_is_opaque(encoded), message)
    return tf.raw_ops.DecodeImage(
        contents=whole, channels=3, dtype=tf.uint8, expand_animations=False
    )


def _gif_is_opaque(encoded: tf.Tensor) -> tf.Tensor:
    """Whether the first frame fills the canvas and declares no transparent colour (GIF89a)."""
    data = tf.concat([tf.io.decode_raw(encoded, tf.uint8), tf.zeros([16], tf.uint8)], axis=0)
    end = tf.strings.length(encoded)
    flags = tf.cast(data[10], tf.int32)
    table = tf.where(flags >= 128, tf.bitwise.left_shift(6, flags % 8), 0)

    # Extensions precede the frame: an introducer, a label and blocks, each after its length.
    def in_front(at: tf.Tensor, in_blocks: tf.Tensor, _: tf.Tensor) -> tf.Tensor:
        return (at < end) & (in_blocks | (data[at] == 0x21))

    def step(at: tf.Tensor, in_blocks: tf.Tensor, keyed: tf.Tensor) -> tuple[tf.Tensor, ...]:
        graphic_control = ~in_blocks & (data[at + 1] == 0xF9)
        keyed = tf.where(graphic_control, data[at + 3] % 2 == 1, keyed)
        length = tf.where(in_blocks, tf.cast(data[at], tf.int32) + 1, 2)
        return tf.minimum(at + length, end), ~in_blocks | (data[at] > 0), keyed

    start = (tf.minimum(13 + table, end), tf.constant(False), tf.constant(False))
    at, _, keyed = tf.while_loop(in_front, step, start)
    # Left and top (2 bytes each), then width and height, which the header has too.
    at_corner = tf.reduce_all(data[at + 1 : at + 5] == 0)
    return ~keyed & at_corner & tf.reduce_all(data[at + 5 : at + 9] == data[6:10])


def _decode_bmp(encoded: tf.Tensor) -> tf.Tensor:
    """Decode colours; TensorFlow reads a palette's indices as greys, and packed rows as pixels."""
    header = bytes_at(encoded, 0, 34)
    bits, compression = (unsigned(header[part]) for part in (slice(28, 30), slice(30, 34)))
    plain = (unsigned(header[14:18]) >= 40) & ((bits == 24) | (bits == 32)) & (compression == 0)
    checked = _checked(encoded, plain, "a BMP has a palette or is compressed.")
    return tf.io.decode_bmp(checked)[..., :3]
