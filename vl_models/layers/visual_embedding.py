"""Patches, or the tokens of an image encoder, as the image's part of a joint sequence."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
from keras import ops

from vl_models.layers import initializers
from vl_models.layers.configured import ConfiguredLayer
from vl_models.layers.extent import within
from vl_models.row_random import draw_uniform


class VisualEmbedding(ConfiguredLayer):
    """Project linearly, hide masked patches, add class token, positions and the modality's type.

    Where images fill only a part of their square, the positions of the whole grid are resized to
    the part, bilinear with aligned corners, and the other patches are masked. In training at most
    ``maximum_tokens`` patches of each image stay, drawn without replacement by its seed.
    Source: Kim et al., "ViLT: Vision-and-Language Transformer Without Convolution or Region
    Supervision", section 3, and its published program (`visual_embed`).

    Args:
        width: W.
        grid: g, patches on a side.
        positions: whether there are learned positions.
        types: number of modality types; an image has type 1, the second image of a pair type 2; 0
            for none.
        mask_token: whether patches can be masked (BEiT, section 2.3: before positions are added).
        maximum_tokens: of an image in training; all without it.
    """

    def __init__(
        self,
        width: int,
        grid: int,
        positions: bool = True,
        types: int = 2,
        mask_token: bool = False,
        maximum_tokens: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.width = width
        self.grid = grid
        self.positions = positions
        self.types = types
        self.mask_token = mask_token
        self.maximum_tokens = maximum_tokens

    def build(self, input_shape: Any) -> None:
        """Create all variables for features [B, g², F]."""
        small = initializers.normal(0.02)
        self.projection = keras.layers.Dense(
            self.width, kernel_initializer=small, dtype=self.dtype_policy, name="projection"
        )
        self.projection.build(input_shape)
        self.class_vector = self._vector("class_vector")
        if self.types:
            self.type_vectors = self._vector("type_vectors", self.types)
        if self.mask_token:
            self.mask_vector = self._vector("mask_vector")
        if self.positions:
            self.class_position = self._vector("class_position")
            self.grid_positions = self._vector("grid_positions", self.grid**2)

    def call(
        self,
        features: Any,
        extent: Any = None,
        masked: Any = None,
        seeds: Any = None,
        type_index: int = 1,
        training: bool = False,
    ) -> tuple[Any, Any]:
        """Embed images.

        Args:
            features: [B, g², F], patches in reading order.
            extent: int32 [B, 2], rows and columns of patches that the picture fills, from the top
                left corner; the whole grid without it.
            masked: bool [B, g²], True = hidden.
            seeds: int32 [B, 2] of the rows; needed to sample in training.
            type_index: the modality's type.
            training: whether patches are sampled.

        Returns:
            Tokens [B, 1 + T, W], the class token first, and their mask, bool [B, 1 + T].

        Raises:
            ValueError: patches are to be sampled, but there are no seeds to draw them by.
        """
        x = self.projection(features)
        if masked is not None:
            x = ops.where(masked[:, :, None], ops.cast(self.mask_vector, x.dtype), x)
        valid = ops.ones_like(x[:, :, 0], "bool")
        if extent is not None:
            valid = ops.reshape(within(extent, (self.grid, self.grid)), (-1, self.grid**2))
        if self.positions:
            table = ops.cast(self.grid_positions, x.dtype)
            if extent is not None:
                table = ops.cast(resized_positions(self.grid_positions, extent), x.dtype)
            x = x + table
        if training and self.maximum_tokens is not None and self.maximum_tokens < self.grid**2:
            x, valid = _sampled(x, valid, seeds, self.maximum_tokens)
        first = self.class_vector + self.class_position if self.positions else self.class_vector
        first = ops.broadcast_to(ops.cast(first, x.dtype), (ops.shape(x)[0], 1, self.width))
        x = ops.concatenate([first, x], axis=1)
        valid = ops.concatenate([ops.ones_like(valid[:, :1]), valid], axis=1)
        if self.types:
            x = x + ops.cast(self.type_vectors[type_index], x.dtype)
        return x, valid

    def _vector(self, name: str, rows: int | None = None) -> Any:
        shape = (self.width,) if rows is None else (rows, self.width)
        return self.add_weight(name=name, shape=shape, initializer=initializers.normal(0.02))


def resized_positions(positions: Any, extent: Any) -> Any:
    """Resize a square grid of positions to a part of it, bilinear with aligned corners.

    Args:
        positions: [g², W].
        extent: int32 [B, 2], rows and columns of each part, at least 1.

    Returns:
        float32 [B, g², W]: in the corner of the grid that the part fills; zero beyond it.
    """
    grid = round(positions.shape[0] ** 0.5)
    table = tf.reshape(tf.cast(positions, tf.float32), [grid, grid, -1])
    rows, columns = (_interpolation(extent[:, axis], grid) for axis in (0, 1))
    resized = tf.einsum("big,bjk,gkw->bijw", rows, columns, table)
    return tf.reshape(resized, [-1, grid * grid, positions.shape[1]])


def _interpolation(length: Any, grid: int) -> Any:
    """Weights float32 [B, g, g] of the table's g places for the first ``length`` of g places."""
    place = tf.range(grid, dtype=tf.float32)
    steps = tf.cast(tf.maximum(length - 1, 1), tf.float32)
    source = place[None, :] * (grid - 1) / steps[:, None]
    weights = tf.maximum(1.0 - tf.abs(source[:, :, None] - place), 0.0)
    within = tf.range(grid)[None, :] < length[:, None]
    return weights * tf.cast(within, tf.float32)[:, :, None]


def _sampled(x: Any, valid: Any, seeds: Any, count: int) -> tuple[Any, Any]:
    """``count`` of the patches, valid ones first, in reading order."""
    if seeds is None:
        raise ValueError("Patches are sampled by the rows' `seeds`. Received: seeds=None")
    drawn = draw_uniform(seeds, valid.shape[1]) + tf.cast(valid, tf.float32)
    kept = tf.sort(tf.math.top_k(drawn, count, sorted=False).indices, axis=1)
    return tf.gather(x, kept, batch_dims=1), tf.gather(valid, kept, batch_dims=1)
