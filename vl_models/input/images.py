"""Image bytes to model input: decoding, cropping, resizing; one code for training and serving.

Measured on JPEG files of 256 px and crops of 224: decoding alone 0.20 ms, with a crop of the
right size 0.20 ms (only the crop is decoded), with a bilinear resize 0.31 ms, with an
antialiased one 0.90 ms. So crops come first, and nothing is resized that already fits.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

# Up to this factor a random crop is taken at the model's size, without resampling.
_NATIVE_CROP_LIMIT = 4.0 / 3.0
_WHITE = 255


def decode_image(encoded: tf.Tensor) -> tf.Tensor:
    """Decode a JPEG or PNG to RGB; grayscale is spread, transparency put on white.

    EXIF orientation is not applied. Bytes that cannot be decoded raise InvalidArgumentError
    when the graph runs.

    Args:
      encoded: string scalar.

    Returns:
      uint8 [height, width, 3].
    """
    return tf.cond(
        tf.io.is_jpeg(encoded),
        lambda: tf.io.decode_jpeg(encoded, channels=3),
        lambda: _decode_png(encoded),
    )


def crop_resize(
    image: tf.Tensor,
    size: int,
    *,
    training: bool = False,
    seed: tf.Tensor | None = None,
    scale: tuple[float, float] | None = None,
) -> tf.Tensor:
    """Cut a square out of an image and bring it to the model's size.

    Evaluation takes the centre square of the full shorter side. Training takes a square at a
    random position: of the model's size, without resampling, if the shorter side is at most
    a third larger; else of the full shorter side, as CLIP does; or of a random side, if
    ``scale`` is given. The same seed gives the same crop.

    Args:
      image: uint8 [height, width, 3].
      size: side of the result in pixels.
      training: whether to crop at random.
      seed: int32 [2], needed while training.
      scale: bounds of the side of a random crop as a share of the shorter side.

    Returns:
      uint8 [size, size, 3].
    """
    shape = tf.shape(image)
    top, left, side = _square(shape[0], shape[1], size, training, seed, scale)
    return resize(image[top : top + side, left : left + side], size)


def decode_and_crop(
    encoded: tf.Tensor,
    size: int,
    *,
    training: bool = False,
    seed: tf.Tensor | None = None,
    scale: tuple[float, float] | None = None,
) -> tf.Tensor:
    """Compute `crop_resize` of `decode_image`, decoding only the crop where the format can.

    Args:
      encoded: string scalar, JPEG or PNG.
      size: side of the result in pixels.
      training: whether to crop at random.
      seed: int32 [2], needed while training.
      scale: bounds of the side of a random crop as a share of the shorter side.

    Returns:
      uint8 [size, size, 3].
    """

    def window(height: tf.Tensor, width: tf.Tensor) -> tuple[tf.Tensor, ...]:
        top, left, side = _square(height, width, size, training, seed, scale)
        return top, left, side, side

    return resize(decode_window(encoded, window), size)


def decode_window(
    encoded: tf.Tensor, choose: Callable[[tf.Tensor, tf.Tensor], tuple[tf.Tensor, ...]]
) -> tf.Tensor:
    """Cut a rectangle out of an encoded image, decoding no more where the format can.

    Args:
      encoded: string scalar, JPEG or PNG.
      choose: gives top, left, height and width of the rectangle for the image's height and
        width; all int32 scalars.

    Returns:
      uint8 [height, width, 3] of the rectangle.
    """

    def from_jpeg() -> tf.Tensor:
        shape = tf.image.extract_jpeg_shape(encoded)
        window = tf.stack(choose(shape[0], shape[1]))
        return tf.io.decode_and_crop_jpeg(encoded, window, channels=3)

    def from_png() -> tf.Tensor:
        image = _decode_png(encoded)
        shape = tf.shape(image)
        top, left, height, width = choose(shape[0], shape[1])
        return image[top : top + height, left : left + width]

    return tf.cond(tf.io.is_jpeg(encoded), from_jpeg, from_png)


def _decode_png(encoded: tf.Tensor) -> tf.Tensor:
    """Decode with transparency, on white: colours under transparent pixels are arbitrary."""
    image = tf.io.decode_png(encoded, channels=4)
    colour, alpha = image[..., :3], image[..., 3:]

    def on_white() -> tf.Tensor:
        opacity = tf.cast(alpha, tf.float32) / _WHITE
        blended = tf.cast(colour, tf.float32) * opacity + _WHITE * (1.0 - opacity)
        return tf.cast(blended + 0.5, tf.uint8)

    return tf.cond(tf.reduce_all(alpha == _WHITE), lambda: colour, on_white)


def _square(
    height: tf.Tensor,
    width: tf.Tensor,
    size: int,
    training: bool,
    seed: tf.Tensor | None,
    scale: tuple[float, float] | None,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Top, left and side of the crop, int32 scalars."""
    shorter = tf.minimum(height, width)
    if not training:
        return (height - shorter) // 2, (width - shorter) // 2, shorter
    if seed is None:
        raise ValueError("`seed` is needed for a training crop. Received: seed=None")
    draws = tf.random.stateless_uniform([3], seed)
    if scale is None:
        limit = int(size * _NATIVE_CROP_LIMIT)
        fits = (shorter >= size) & (shorter <= limit)
        side = tf.where(fits, size, shorter)
    else:
        share = scale[0] + (scale[1] - scale[0]) * draws[2]
        side = tf.cast(tf.round(tf.cast(shorter, tf.float32) * share), tf.int32)
        side = tf.clip_by_value(side, 1, shorter)

    def start(length: tf.Tensor, draw: tf.Tensor) -> tf.Tensor:
        # Every start from 0 to length - side is equally likely; draws are below 1, but
        # the product may round up to the bound.
        choices = length - side + 1
        drawn = tf.cast(tf.cast(choices, tf.float32) * draw, tf.int32)
        return tf.minimum(drawn, choices - 1)

    return start(height, draws[0]), start(width, draws[1]), side


def resize(image: tf.Tensor, size: int) -> tf.Tensor:
    """Resample to a square of ``size``: bilinear, by area where a side is twice that or more.

    Args:
      image: uint8 [height, width, 3].
      size: side of the result in pixels.

    Returns:
      uint8 [size, size, 3].
    """

    def resample(method: str) -> tf.Tensor:
        return tf.cast(tf.image.resize(image, [size, size], method=method) + 0.5, tf.uint8)

    sides = tf.shape(image)[:2]
    resized = tf.cond(
        tf.reduce_all(sides == size),
        lambda: image,
        lambda: tf.cond(
            tf.reduce_max(sides) >= 2 * size,
            lambda: resample("area"),
            lambda: resample("bilinear"),
        ),
    )
    return tf.ensure_shape(resized, [size, size, 3])
