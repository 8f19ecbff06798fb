"""Projection heads of the momentum-contrast systems: linear, or with one hidden layer."""

from __future__ import annotations

from typing import Any

import keras

from vl_models.layers import initializers
from vl_models.layers.configured import ConfiguredLayer
from vl_models.layers.projection import l2_normalize


class ProjectionHead(ConfiguredLayer):
    """Linear, or linear-ReLU-linear, with biases; then unit length, in float32.

    The hidden layer is as wide as the input.
    Source: Chen et al., "Improved Baselines with Momentum Contrastive Learning", section 2
    (MoCo v2; v1 has no hidden layer); WenLan takes the same form.

    Args:
        dim: D, the width of the embedding.
        hidden_layer: whether there is a hidden layer.
    """

    def __init__(self, dim: int, hidden_layer: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dim = dim
        self.hidden_layer = hidden_layer

    def build(self, input_shape: Any) -> None:
        """Create the dense layers."""
        self.dense = [self._dense(input_shape[-1], "hidden", "relu")] if self.hidden_layer else []
        self.dense.append(self._dense(self.dim, "output", None))
        for layer in self.dense:
            layer.build(input_shape)

    def call(self, inputs: Any) -> Any:
        """Project [B, width] to unit-norm float32 [B, D]."""
        for layer in self.dense:
            inputs = layer(inputs)
        return l2_normalize(inputs)

    def _dense(self, units: int, name: str, activation: str | None) -> keras.layers.Dense:
        return keras.layers.Dense(
            units,
            activation=activation,
            kernel_initializer=initializers.uniform_fan_in(),
            dtype=self.dtype_policy,
            name=name,
        )
