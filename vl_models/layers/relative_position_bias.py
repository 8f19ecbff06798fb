"""Relative position biases of images, texts and both together, from one table.

Rows of the table, for a grid of g × g patches and texts of L tokens, each sequence with a class
token in front:

==================================  ==============================================
rows                                what is between query and key
==================================  ==============================================
(2g - 1)²                           two patches: row and column of query - key
3                                   class token of the image: query, key, both
1                                   a query of the text and a key of the image
1                                   a query of the image and a key of the text
2(L - 1) - 1                        two tokens of the text: key - query
3                                   first token of the text: query, key, both
==================================  ==============================================

Source: Bao et al., "BEiT: BERT Pre-Training of Image Transformers", section 2.2 (images), and its
extension to texts in VLMo's published program (`get_rel_pos`).
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from keras import ops

from vl_models.layers import initializers
from vl_models.layers.configured import ConfiguredLayer

Modality = Literal["image", "text", "pair"]


class RelativePositionBias(ConfiguredLayer):
    """What attention logits get from the places of query and key, for all blocks of an encoder.

    Args:
        grid: g, patches on a side.
        text_length: L, tokens of a text.
        heads: attention heads of a block.
        depth: number of blocks.
    """

    def __init__(self, grid: int, text_length: int, heads: int, depth: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.grid = grid
        self.text_length = text_length
        self.heads = heads
        self.depth = depth

    def build(self, input_shape: Any = None) -> None:
        """Create ``table`` [rows, depth · heads]: the heads of the first block come first."""
        self.table = self.add_weight(
            name="table",
            shape=(table_rows(self.grid, self.text_length), self.depth * self.heads),
            initializer=initializers.normal(0.02),
        )

    def call(self, modality: Modality) -> list[Any]:
        """Biases of each block, [1, heads, S, S] for the sequences of a modality.

        Pairs are the text's tokens, then the image's.
        """
        index = bias_indices(self.grid, self.text_length, modality)
        size = index.shape[0]
        rows = ops.take(self.table, index.ravel(), axis=0)
        biases = ops.reshape(ops.transpose(rows), (self.depth, 1, self.heads, size, size))
        return ops.unstack(biases, num=self.depth, axis=0)


def table_rows(grid: int, text_length: int) -> int:
    """Return the number of rows of the table."""
    return image_rows(grid) + 2 + text_rows(text_length)


def image_rows(grid: int) -> int:
    """Return the number of rows that belong to images."""
    return (2 * grid - 1) ** 2 + 3


def text_rows(text_length: int) -> int:
    """Return the number of rows that belong to texts."""
    return 2 * (text_length - 1) - 1 + 3


def bias_indices(grid: int, text_length: int, modality: Modality) -> np.ndarray:
    """Row of the table for each query and key, int [S, S]."""
    image, text = _image_indices(grid), _text_indices(text_length)
    cross = image_rows(grid)
    text = text + cross + 2
    if modality == "image":
        return image
    if modality == "text":
        return text
    lengths = (len(text), len(image))
    return np.block(
        [
            [text, np.full(lengths, cross)],
            [np.full(lengths[::-1], cross + 1), image],
        ]
    )


def _image_indices(grid: int) -> np.ndarray:
    places = np.stack(np.divmod(np.arange(grid * grid), grid))
    difference = places[:, :, None] - places[:, None, :] + grid - 1
    return _with_class_token(difference[0] * (2 * grid - 1) + difference[1], (2 * grid - 1) ** 2)


def _text_indices(length: int) -> np.ndarray:
    place = np.arange(length - 1)
    difference = place[None, :] - place[:, None] + length - 2
    return _with_class_token(difference, 2 * (length - 1) - 1)


def _with_class_token(difference: np.ndarray, offsets: int) -> np.ndarray:
    index = np.pad(difference, ((1, 0), (1, 0)))
    index[0, :], index[:, 0], index[0, 0] = offsets, offsets + 1, offsets + 2
    return index
