"""The image augmentations of MoCo v1 and v2, as graph functions of uniform draws.

He et al. 2020, "Momentum Contrast for Unsupervised Visual Representation Learning", section 3.3;
Chen et al. 2020, "Improved Baselines with Momentum Contrastive Learning", section 2. Each
transform is torchvision's of the same name, with one difference: colours stay float32 in
[0, 255], clipped after each transform, and are rounded once, at the end.

Nothing here draws random numbers: an image's randomness is `NUM_DRAWS` uniform numbers, one
place for each decision, so equal draws make equal pixels whatever else is in the batch.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from vl_models.input.images import Finish, Window

# Places of an image's draws. The crop makes up to ten attempts, each of an area and a ratio.
_FLIP, _JITTER, _ORDER, _GRAYSCALE, _BLUR, _SIGMA = range(6)
_FACTORS, _PLACE, _AREA, _RATIO = slice(6, 10), slice(10, 12), slice(12, 22), slice(22, 32)
NUM_DRAWS = 32

_LUMA = (0.299, 0.587, 0.114)
_ORDERS = tuple(itertools.permutations(range(4)))
_WHITE = 255.0


@dataclass(frozen=True)
class Augmentation:
    """What is done to an image, with which probability and strength.

    Attributes:
        crop_area, crop_ratio: bounds of a crop's share of the area and of its width / height.
        jitter: strengths of brightness, contrast, saturation (factors 1 ± strength) and hue
            (± a share of a full turn).
        grayscale_first: before the jitter, not after.
        blur_sigma: bounds of the standard deviation, in pixels of the model's input.
    """

    jitter: tuple[float, float, float, float]
    jitter_probability: float
    grayscale_probability: float
    blur_probability: float
    grayscale_first: bool = False
    flip_probability: float = 0.5
    crop_area: tuple[float, float] = (0.2, 1.0)
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)
    blur_sigma: tuple[float, float] = (0.1, 2.0)


PRESETS: Mapping[str, Augmentation] = {
    "moco_v1": Augmentation(
        jitter=(0.4, 0.4, 0.4, 0.4),
        jitter_probability=1.0,
        grayscale_probability=0.2,
        grayscale_first=True,
        blur_probability=0.0,
    ),
    "moco_v2": Augmentation(
        jitter=(0.4, 0.4, 0.4, 0.1),
        jitter_probability=0.8,
        grayscale_probability=0.2,
        blur_probability=0.5,
    ),
}


def random_view(augmentation: Augmentation) -> tuple[Window, Finish]:
    """An augmentation as `image_batch` takes it; the randomness is draws float32 [NUM_DRAWS]."""

    def window(height: tf.Tensor, width: tf.Tensor, draws: tf.Tensor) -> tuple[tf.Tensor, ...]:
        return crop_window(height, width, draws, augmentation)

    def finish(image: tf.Tensor, draws: tf.Tensor, pixel: float) -> tf.Tensor:
        return augment(image, draws, augmentation, pixel)

    return window, finish


def augment(
    image: tf.Tensor, draws: tf.Tensor, augmentation: Augmentation, pixel: float = 1.0
) -> tf.Tensor:
    """Everything that follows the crop: colours, blur and flip.

    Args:
        image: uint8 [size, size, 3].
        draws: float32 [NUM_DRAWS], uniform in (0, 1).
        augmentation: what to do.
        pixel: how many pixels of this image one of the model's input is.

    Returns:
        uint8 [size, size, 3].
    """
    low, high = augmentation.blur_sigma

    def jitter(image: tf.Tensor) -> tf.Tensor:
        strength = tf.constant(augmentation.jitter)
        around = tf.constant([1.0, 1.0, 1.0, 0.0])
        factors = around + strength * (2.0 * draws[_FACTORS] - 1.0)
        order = tf.gather(tf.constant(_ORDERS), _index(draws[_ORDER], len(_ORDERS)))
        return color_jitter(image, factors, order)

    def blur(image: tf.Tensor) -> tf.Tensor:
        return gaussian_blur(image, pixel * (low + (high - low) * draws[_SIGMA]))

    colours = [
        (augmentation.jitter_probability, _JITTER, jitter),
        (augmentation.grayscale_probability, _GRAYSCALE, grayscale),
    ]
    if augmentation.grayscale_first:
        colours.reverse()
    image = tf.cast(image, tf.float32)
    for probability, place, transform in (
        *colours,
        (augmentation.blur_probability, _BLUR, blur),
        (augmentation.flip_probability, _FLIP, flip),
    ):
        image = _at_random(transform, image, draws[place], probability)
    return tf.cast(image + 0.5, tf.uint8)


def crop_window(
    height: tf.Tensor, width: tf.Tensor, draws: tf.Tensor, augmentation: Augmentation
) -> tuple[tf.Tensor, ...]:
    """A crop of random area and ratio (Szegedy et al. 2015, "Going Deeper with Convolutions", 6).

    The area is uniform, the ratio uniform in its logarithm. The first of ten attempts that fits
    counts; if none does, the largest central crop whose ratio is within the bounds.

    Args:
        height: of the image, an int32 scalar.
        width: likewise.
        draws: float32 [NUM_DRAWS], uniform in (0, 1).
        augmentation: bounds of area and ratio.

    Returns:
        top, left, height and width of the crop, int32 scalars.
    """
    low, high = augmentation.crop_area
    narrow, wide = augmentation.crop_ratio
    rows, columns = tf.cast(height, tf.float32), tf.cast(width, tf.float32)
    area = rows * columns * (low + (high - low) * draws[_AREA])
    ratio = tf.exp(math.log(narrow) + math.log(wide / narrow) * draws[_RATIO])
    tall, broad = tf.round(tf.sqrt(area / ratio)), tf.round(tf.sqrt(area * ratio))
    fits = (tall >= 1) & (broad >= 1) & (tall <= rows) & (broad <= columns)
    first, fitted = tf.argmax(fits), tf.reduce_any(fits)
    central_tall = tf.minimum(rows, tf.maximum(tf.round(columns / narrow), 1))
    central_broad = tf.minimum(columns, tf.maximum(tf.round(rows * wide), 1))
    crop_height = tf.cast(tf.where(fitted, tall[first], central_tall), tf.int32)
    crop_width = tf.cast(tf.where(fitted, broad[first], central_broad), tf.int32)
    free_rows, free_columns = height - crop_height, width - crop_width
    top, left = draws[_PLACE][0], draws[_PLACE][1]
    return (
        tf.where(fitted, _index(top, free_rows + 1), free_rows // 2),
        tf.where(fitted, _index(left, free_columns + 1), free_columns // 2),
        crop_height,
        crop_width,
    )


def color_jitter(image: tf.Tensor, factors: tf.Tensor, order: tf.Tensor) -> tf.Tensor:
    """Brightness, contrast, saturation and hue, one after the other.

    Args:
        image: float32 [height, width, 3] in [0, 255].
        factors: float32 [4]: of brightness, contrast and saturation, 1 changes nothing; of hue,
            in turns, 0 changes nothing.
        order: int32 [4], a permutation: which comes first, second, …

    Returns:
        float32 [height, width, 3] in [0, 255].
    """
    adjust = (adjust_brightness, adjust_contrast, adjust_saturation, adjust_hue)

    def next_part(turn: tf.Tensor, image: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        branches = [
            lambda part=part, factor=factors[which]: part(image, factor)
            for which, part in enumerate(adjust)
        ]
        return turn + 1, tf.switch_case(order[turn], branches)

    # A loop in the graph: four turns of four branches each are slow to trace.
    return tf.while_loop(lambda turn, _: turn < 4, next_part, (0, image))[1]


def adjust_brightness(image: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Blend with black: factor · image, clipped to [0, 255]."""
    return _clip(factor * image)


def adjust_contrast(image: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Blend with the mean luma of the image: 0 is plain grey, 1 the image; clipped."""
    return _clip(factor * image + (1.0 - factor) * tf.reduce_mean(grayscale(image)))


def adjust_saturation(image: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Blend with the luma of each pixel: 0 is grayscale, 1 the image; clipped."""
    return _clip(factor * image + (1.0 - factor) * grayscale(image))


def adjust_hue(image: tf.Tensor, turns: tf.Tensor) -> tf.Tensor:
    """Turn the hue of each pixel round the HSV circle by ``turns``; 1 is once round."""
    return tf.image.adjust_hue(image, turns)


def grayscale(image: tf.Tensor) -> tf.Tensor:
    """The luma of each pixel (ITU-R BT.601: .299 R + .587 G + .114 B) in all three channels."""
    # A product with a matrix: TensorFlow sums and spreads an axis of three slowly.
    weights = tf.constant([[weight] * 3 for weight in _LUMA])
    return tf.reshape(tf.matmul(tf.reshape(image, [-1, 3]), weights), tf.shape(image))


def gaussian_blur(image: tf.Tensor, sigma: tf.Tensor) -> tf.Tensor:
    """Convolve with a normalised Gaussian, reflecting the image at its edges.

    Args:
        image: float32 [size, size, 3].
        sigma: standard deviation in pixels, float32 scalar.

    Returns:
        float32 [size, size, 3].
    """
    size = image.shape[0]
    weights = tf.reduce_sum(tf.exp(-0.5 * tf.square(_reflected(size) / sigma)), axis=0)
    matrix = weights / tf.reduce_sum(weights, axis=1, keepdims=True)
    # Products of whole matrices: at 64 pixels they take half the time of a depthwise convolution.
    for _ in range(2):  # rows, then columns
        blurred = tf.reshape(tf.matmul(matrix, tf.reshape(image, [size, size * 3])), image.shape)
        image = tf.transpose(blurred, [1, 0, 2])
    return image


def flip(image: tf.Tensor) -> tf.Tensor:
    """Mirror left and right."""
    return tf.reverse(image, [1])


def _at_random(
    transform: Callable[[tf.Tensor], tf.Tensor],
    image: tf.Tensor,
    draw: tf.Tensor,
    probability: float,
) -> tf.Tensor:
    """Transform with the given probability; certain outcomes cost no decision in the graph."""
    if probability == 0.0:
        return image
    if probability == 1.0:
        return transform(image)
    return tf.cond(draw < probability, lambda: transform(image), lambda: image)


def _index(draw: tf.Tensor, count: tf.Tensor | int) -> tf.Tensor:
    """One of 0 … count - 1, int32, all equally likely."""
    # The draw is below 1, but the product may round up to the count.
    scaled = tf.cast(draw * tf.cast(count, tf.float32), tf.int32)
    return tf.minimum(scaled, count - 1)


def _reflected(size: int) -> np.ndarray:
    """Distances from pixel i to pixel j and to its images in both edges, float32 [3, size, size].

    A pixel at an edge is the mirror, and has no image of its own there.
    """
    here, there = np.mgrid[:size, :size].astype(np.float32)
    left = np.where(there > 0, here + there, np.inf)
    right = np.where(there < size - 1, 2 * (size - 1) - here - there, np.inf)
    return np.stack([here - there, left, right]).astype(np.float32)


def _clip(image: tf.Tensor) -> tf.Tensor:
    return tf.clip_by_value(image, 0.0, _WHITE)
