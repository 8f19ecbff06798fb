"""The last layer of a tower into a common space that is no sphere."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from vl_models.layers.configured import ConfiguredLayer


class UnnormalizedProjection(ConfiguredLayer):
    """A dense layer with an activation, to float32 vectors that are not normalised.

    Args:
        dim: D, the width of the vectors.
        activation: "tanh" (ACMR), "linear" (DSCMR).
    """

    def __init__(self, dim: int, activation: str = "linear", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dim = dim
        self.activation = activation

    def build(self, input_shape: Any) -> None:
        """Create the dense layer."""
        self.dense = keras.layers.Dense(
            self.dim, activation=self.activation, dtype=self.dtype_policy, name="dense"
        )
        self.dense.build(input_shape)

    def call(self, inputs: Any) -> Any:
        """Map [B, width] to float32 [B, D]."""
        return ops.cast(self.dense(inputs), "float32")
