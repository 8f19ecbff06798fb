"""Image bytes to model input: decoding, cropping, resizing; one code for training and serving.

Crops come first: of JPEG files only the crop is decoded. The scale of what a tower sees in training
and in serving is one: training crops squares of a random share of the shorter side, and serving
takes the centre square of the mean share.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import tensorflow as tf

from vl_models.choices import ImageFit
from vl_models.input.decoding import decode_window

# Gives top, left, height and width of a part, for an image's height and width (all int32 scalars)
# and what is random about the row.
Window = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tuple[tf.Tensor, ...]]
# Changes uint8 [size, size, 3] by what is random about the row; the float is how many pixels of
# this size one of the model's "image" is.
Finish = Callable[[tf.Tensor, tf.Tensor, float], tf.Tensor]
EXTENT = "image_extent"

_MAX_VALUE = 255


def image_batch(
    encoded: tf.Tensor,
    sizes: Mapping[str, int],
    fit: ImageFit = "crop",
    *,
    share: float = 1.0,
    window: Window | None = None,
    finish: Finish | None = None,
    randomness: tf.Tensor | None = None,
    parallel_iterations: int | None = None,
) -> dict[str, tf.Tensor]:
    """Return the batch keys of encoded images: one rule for training, signatures and index.

    One part of each image is cut out and brought to every size. Unless ``window`` chooses it, the
    part is the centre square, of ``share`` of the shorter side, or with ``fit`` "pad" the centre
    of the image, of ``share`` of both sides.

    Args:
        encoded: string [B], of what `decode_window` decodes.
        sizes: side in pixels by key; the one under "image" is what ``window`` chooses for.
        fit: "crop" stretches the part to the square, see `resize`; "pad" keeps its ratio of sides,
            see `resize_and_pad`.
        share: of the sides that a part spans which ``window`` does not choose, in (0, 1].
        window: chooses the part at random.
        finish: changes a resized image at random.
        randomness: a row of it belongs to each image and goes to ``window`` and ``finish``, such as
            seeds int32 [B, 2]; needed with ``window``.
        parallel_iterations: of `tf.map_fn`.

    Returns:
        uint8 [B, size, size, 3] under each key of ``sizes``; with ``fit`` "pad" also
        ``image_extent`` int32 [B, 2], height and width of the picture within ``image``.

    Raises:
        ValueError: a ``window`` without ``randomness``.
    """
    if window is None:
        window = _centre_part(share) if fit == "pad" else _centre_square(share)
        randomness = tf.zeros(tf.shape(encoded), tf.int32)
    if randomness is None:
        raise ValueError("`randomness` (a seed for each row) is needed. Received: randomness=None")

    largest = max(sizes.values())

    def decode(image: tuple[tf.Tensor, tf.Tensor]) -> dict[str, tf.Tensor]:
        content, own = image
        part = decode_window(content, lambda height, width: window(height, width, own), largest)
        made = {}
        for key, size in sizes.items():
            if fit == "crop":
                made[key] = resize(part, size)
            else:
                made[key], extent = resize_and_pad(part, size)
                if key == "image":
                    made[EXTENT] = extent
            if finish is not None:
                made[key] = finish(made[key], own, size / sizes["image"])
        return made

    specs = {key: tf.TensorSpec([size, size, 3], tf.uint8) for key, size in sizes.items()}
    if fit == "pad":
        specs[EXTENT] = tf.TensorSpec([2], tf.int32)
    return tf.map_fn(
        decode,
        (encoded, randomness),
        fn_output_signature=specs,
        parallel_iterations=parallel_iterations,
    )


def random_square(scale: tuple[float, float]) -> Window:
    """Return a square at a random place; the randomness is a seed int32 [2].

    The same seed gives the same crop. With a scale of (1, 1) it moves along the longer side
    alone, as CLIP's does (Radford et al. 2021, section 2.4).

    Args:
        scale: bounds of the side as a share of the shorter side.
    """

    def window(height: tf.Tensor, width: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, ...]:
        shorter = tf.minimum(height, width)
        draws = tf.random.stateless_uniform([3], seed)
        side = _share(shorter, scale, draws[2])
        return _start(height, side, draws[0]), _start(width, side, draws[1]), side, side

    return window


def random_part(scale: tuple[float, float]) -> Window:
    """A part at a random place with the ratio of the whole; the randomness is a seed int32 [2].

    Args:
        scale: bounds of each side as a share of the image's.
    """

    def window(height: tf.Tensor, width: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, ...]:
        draws = tf.random.stateless_uniform([3], seed)
        rows, columns = (_share(side, scale, draws[2]) for side in (height, width))
        return _start(height, rows, draws[0]), _start(width, columns, draws[1]), rows, columns

    return window


def resize(image: tf.Tensor, size: int) -> tf.Tensor:
    """Resample to a square of ``size``: bicubic, with antialiasing where it shrinks.

    The same kernel as PIL's BICUBIC (Keys 1981, a = -1/2), which is what published weights were
    trained with.

    Args:
        image: uint8 [height, width, 3].
        size: side of the result in pixels.

    Returns:
        uint8 [size, size, 3].
    """
    return tf.ensure_shape(_resample(image, tf.constant([size, size])), [size, size, 3])


def resize_and_pad(image: tf.Tensor, size: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Resample the longer side to ``size``, with zeros at the bottom or on the right.

    The shorter side becomes size · shorter / longer, rounded to the nearest pixel, at least one.
    Zeros are black before the tower normalises: a model that must not see them masks what is
    beyond the extent.

    Args:
        image: uint8 [height, width, 3].
        size: side of the result in pixels.

    Returns:
        uint8 [size, size, 3], and int32 [2]: height and width of the picture within it, from the
        top left corner.
    """
    sides = tf.shape(image)[:2]
    scaled = tf.cast(sides * size, tf.float32) / tf.cast(tf.reduce_max(sides), tf.float32)
    extent = tf.maximum(tf.cast(tf.round(scaled), tf.int32), 1)
    margin = tf.pad((size - extent)[:, tf.newaxis], [[0, 1], [1, 0]])
    padded = tf.pad(_resample(image, extent), margin)
    return tf.ensure_shape(padded, [size, size, 3]), extent


def _resample(image: tf.Tensor, sides: tf.Tensor) -> tf.Tensor:
    """To these sides: as it is if they are its own."""

    def resampled() -> tf.Tensor:
        resized = tf.image.resize(image, sides, method="bicubic", antialias=True)
        # The kernel has negative lobes: edges overshoot.
        return tf.cast(tf.clip_by_value(resized + 0.5, 0.0, _MAX_VALUE), tf.uint8)

    own = tf.shape(image)[:2]
    return tf.cond(tf.reduce_all(own == sides), lambda: image, resampled)


def _centre_square(share: float) -> Window:
    def window(height: tf.Tensor, width: tf.Tensor, _: tf.Tensor) -> tuple[tf.Tensor, ...]:
        side = _share(tf.minimum(height, width), (share, share))
        return (height - side) // 2, (width - side) // 2, side, side

    return window


def _centre_part(share: float) -> Window:
    def window(height: tf.Tensor, width: tf.Tensor, _: tf.Tensor) -> tuple[tf.Tensor, ...]:
        rows, columns = (_share(side, (share, share)) for side in (height, width))
        return (height - rows) // 2, (width - columns) // 2, rows, columns

    return window


def _share(
    length: tf.Tensor, scale: tuple[float, float], draw: tf.Tensor | float = 0.0
) -> tf.Tensor:
    """Return a share of a length, in whole pixels, at least one."""
    share = scale[0] + (scale[1] - scale[0]) * draw
    drawn = tf.cast(tf.round(tf.cast(length, tf.float32) * share), tf.int32)
    return tf.clip_by_value(drawn, 1, length)


def _start(length: tf.Tensor, part: tf.Tensor, draw: tf.Tensor) -> tf.Tensor:
    """Every start from 0 to length - part, all equally likely."""
    choices = length - part + 1
    # Draws are below 1, but the product may round up to the bound.
    drawn = tf.cast(tf.cast(choices, tf.float32) * draw, tf.int32)
    return tf.minimum(drawn, choices - 1)
