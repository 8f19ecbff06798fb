"""Multi-scale patch pooling: a feature map as the regions of several grids."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from vl_models.layers import initializers
from vl_models.layers.configured import ConfiguredLayer


def grid_boxes(grids: Sequence[int]) -> np.ndarray:
    """Boxes of square grids over the unit square.

    Args:
        grids: cells per side; (1, 6) is the whole image and 36 cells.

    Returns:
        float64 [boxes, 4]: top, left, bottom, right, in [0, 1].
    """
    return np.array(
        [
            (row / side, column / side, (row + 1) / side, (column + 1) / side)
            for side in grids
            for row in range(side)
            for column in range(side)
        ]
    )


def sampling_matrix(boxes: np.ndarray, side: int, samples: int) -> np.ndarray:
    """Weights by which the positions of a map enter the mean of each box.

    The mean is over samples² bilinear samples at the centres of equal cells of the box;
    positions of the map are the centres of its cells, and beyond the outermost ones values
    continue as they are.

    Args:
        boxes: [boxes, 4] of `grid_boxes`.
        side: of the square map.
        samples: per side of a box.

    Returns:
        float32 [boxes, side²], rows of which sum to 1.
    """
    along = []
    for low, high in ((boxes[:, 0], boxes[:, 2]), (boxes[:, 1], boxes[:, 3])):
        place = low[:, None] + (high - low)[:, None] * (np.arange(samples) + 0.5) / samples
        place = np.clip(place * side - 0.5, 0.0, side - 1.0)
        weights = np.maximum(1.0 - np.abs(place[:, :, None] - np.arange(side)), 0.0)
        along.append(weights.mean(axis=1))
    rows, columns = along
    matrix = rows[:, :, None] * columns[:, None, :]
    return matrix.reshape(len(boxes), side * side).astype(np.float32)


class MultiScalePatchPooling(ConfiguredLayer):
    """Regions of a square feature map: bilinear samples, 1x1 convolution, average.

    BriVL convolves the 4x4 samples of a box and then averages them. Both are linear, so here
    the average comes first: one product with a fixed matrix, and a dense layer on 37 vectors
    instead of 592.
    Source: Huo et al., "WenLan: Bridging Vision and Language by Large-Scale Multi-Modal
    Pre-Training", section 3.1; Fei et al., "Towards artificial general intelligence via a
    multimodal foundation model", methods, "Multi-Scale Patch Pooling".

    Args:
        grids: cells per side of each grid; (1, 6) gives 37 regions.
        samples: bilinear samples per side of a region.
    """

    def __init__(self, grids: Sequence[int] = (1, 6), samples: int = 4, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not grids or min(grids) < 1:
            raise ValueError(
                f"`grids` must be positive numbers, at least one. Received: grids={tuple(grids)}"
            )
        self.grids = tuple(grids)
        self.samples = samples

    def build(self, input_shape: Any) -> None:
        """Create the 1x1 convolution [W, W]."""
        _, length, width = input_shape
        self._first, side = _square(length)
        self._matrix = sampling_matrix(grid_boxes(self.grids), side, self.samples)
        self.convolution = keras.layers.Dense(
            width,
            kernel_initializer=initializers.uniform_fan_in(),
            dtype=self.dtype_policy,
            name="convolution",
        )
        self.convolution.build(input_shape)

    def call(self, tokens: Any) -> Any:
        """Pool a map to regions.

        Args:
            tokens: [B, L, W]; L is a square, or a square and one class token before, which is
                left out.

        Returns:
            [B, regions, W].

        Raises:
            ValueError: the tokens form no square.
        """
        matrix = ops.cast(self._matrix, self.compute_dtype)
        return self.convolution(ops.matmul(matrix, tokens[:, self._first :]))


def _square(length: int) -> tuple[int, int]:
    """Return the number of class tokens before the map, and its side."""
    for class_tokens in (0, 1):
        side = math.isqrt(length - class_tokens)
        if side > 0 and side * side == length - class_tokens:
            return class_tokens, side
    raise ValueError(
        "The tokens must form a square map, with at most one class token before it. "
        f"Received: {length} tokens"
    )
