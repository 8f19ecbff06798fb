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

_CROSS_ROWS = 2


class RelativePositionBias(ConfiguredLayer):
    """What attention logits get from the places of query and key, for all blocks of an encoder.

    The parts of the table are variables of their own, since each is brought to another grid or
    length in its own way (`vl_models.training.resizing`).

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
        """Create the table's parts [rows, depth · heads]: the heads of the first block come first.

        ``image_table`` for patches, ``cross_table`` for what lies between the modalities,
        ``text_table`` for tokens.
        """
        self.image_table, self.cross_table, self.text_table = (
            self.add_weight(
                name=f"{name}_table",
                shape=(rows, self.depth * self.heads),
                initializer=initializers.normal(0.02),
            )
            for name, rows in (
                ("image", image_rows(self.grid)),
                ("cross", _CROSS_ROWS),
                ("text", text_rows(self.text_length)),
            )
        )

    def call(self, modality: Modality, blocks: range | None = None) -> dict[int, Any]:
        """Biases [1, heads, S, S] by number of the block, for the sequences of a modality.

        Pairs are the text's tokens, then the image's.

        Args:
            modality: what the sequences are.
            blocks: neighbouring blocks that ask for them; all by default.
        """
        blocks = range(self.depth) if blocks is None else blocks
        if not blocks:
            return {}
        columns = slice(blocks[0] * self.heads, (blocks[-1] + 1) * self.heads)
        parts = [self.image_table, self.cross_table, self.text_table]
        table = ops.concatenate([part[:, columns] for part in parts], axis=0)
        index = bias_indices(self.grid, self.text_length, modality)
        size = index.shape[0]
        rows = ops.take(table, index.ravel(), axis=0)
        biases = ops.reshape(ops.transpose(rows), (len(blocks), 1, self.heads, size, size))
        return dict(zip(blocks, ops.unstack(biases, num=len(blocks), axis=0), strict=True))


def table_rows(grid: int, text_length: int) -> int:
    """Return the number of rows of the table."""
    return image_rows(grid) + _CROSS_ROWS + text_rows(text_length)


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
    text = text + cross + _CROSS_ROWS
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
