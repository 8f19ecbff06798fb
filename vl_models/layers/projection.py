"""Projection of pooled features to unit-norm embeddings."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from keras import ops

from vl_models.layers import initializers
from vl_models.layers.configured import ConfiguredLayer


def l2_normalize(x: Any) -> Any:
    """Divide by the Euclidean norm of the last axis, in float32.

    Value and gradient stay finite at the zero vector, which maps to itself.

    Args:
        x: [..., D] of any float dtype.

    Returns:
        float32 [..., D] with unit norm.
    """
    return tf.math.l2_normalize(tf.cast(x, tf.float32), axis=-1)


class Projection(ConfiguredLayer):
    """Multiply by a matrix and normalise to unit length, in float32.

    The matrix is drawn from N(0, 1/width) of the input.
    Source: Radford et al., "Learning Transferable Visual Models From Natural Language
    Supervision", figure 3.

    Args:
        dim: D, the width of the embedding.
        bias: whether a vector is added (FLAVA); CLIP has none.
    """

    def __init__(self, dim: int, bias: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dim = dim
        self.bias = bias

    def build(self, input_shape: Any) -> None:
        """Create the kernel [width, D], and the bias [D] if there is one."""
        width = input_shape[-1]
        initializer = initializers.normal(width**-0.5)
        self.kernel = self.add_weight(
            name="kernel", shape=(width, self.dim), initializer=initializer
        )
        if self.bias:
            self.shift = self.add_weight(name="bias", shape=(self.dim,), initializer="zeros")

    def call(self, inputs: Any) -> Any:
        """Project [B, width] to unit-norm float32 [B, D]."""
        projected = ops.matmul(inputs, self.kernel)
        return l2_normalize(projected + self.shift if self.bias else projected)


class UnitNorm(ConfiguredLayer):
    """Normalise to unit length, in float32, without a projection."""

    def call(self, inputs: Any) -> Any:
        """Normalise [..., D] to unit-norm float32 [..., D]."""
        return l2_normalize(inputs)
