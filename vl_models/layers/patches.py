"""Images as sequences of patches."""

from __future__ import annotations

from typing import Any

from keras import ops


def patchify(images: Any, side: int) -> Any:
    """Cut images into squares, in reading order.

    Source: Dosovitskiy et al., "An Image is Worth 16x16 Words", section 3.1.

    Args:
        images: [B, H, W, channels]; ``side`` divides H and W.
        side: of a patch, in pixels.

    Returns:
        [B, patches, side · side · channels]; a patch's pixels are in reading order, too.
    """
    _, height, width, channels = images.shape
    rows, columns = height // side, width // side
    x = ops.reshape(images, (-1, rows, side, columns, side, channels))
    x = ops.transpose(x, (0, 1, 3, 2, 4, 5))
    return ops.reshape(x, (-1, rows * columns, side * side * channels))


def hide_patches(images: Any, masked: Any, fill: Any) -> Any:
    """Paint patches in one colour.

    An encoder that looks beyond single patches must not see those that it is to predict.

    Args:
        images: uint8 or float [B, H, W, channels].
        masked: bool [B, rows · columns] over a square grid of patches that fills the image.
        fill: the colour, float [channels].

    Returns:
        float32 [B, H, W, channels].
    """
    grid = round(masked.shape[1] ** 0.5)
    mask = ops.reshape(masked, (-1, grid, grid, 1))
    mask = ops.repeat(ops.repeat(mask, images.shape[1] // grid, 1), images.shape[2] // grid, 2)
    return ops.where(mask, ops.convert_to_tensor(fill, "float32"), ops.cast(images, "float32"))
