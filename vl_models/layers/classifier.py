"""A classification head: dense layers and raw scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from vl_models.layers import initializers
from vl_models.layers.configured import ConfiguredLayer


class Classifier(ConfiguredLayer):
    """Dense layers with an activation, then a linear one to the classes, in float32.

    Args:
        classes: C.
        hidden_widths: widths of the layers in between.
        activation: of the layers in between; "linear" leaves it out.
        stddev: of the last layer's normal initialisation; Glorot's uniform one without it.
    """

    def __init__(
        self,
        classes: int,
        hidden_widths: Sequence[int] = (),
        activation: str = "relu",
        stddev: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.classes = classes
        self.hidden_widths = tuple(hidden_widths)
        self.activation = activation
        self.stddev = stddev

    def build(self, input_shape: Any) -> None:
        """Create the dense layers."""
        width, self.dense = input_shape[-1], []
        for place, units in enumerate((*self.hidden_widths, self.classes)):
            last = place == len(self.hidden_widths)
            layer = keras.layers.Dense(
                units,
                activation=None if last else self.activation,
                kernel_initializer=initializers.normal(self.stddev)
                if last and self.stddev is not None
                else "glorot_uniform",
                dtype=self.dtype_policy,
                name="scores" if last else f"hidden_{place}",
            )
            layer.build((None, width))
            self.dense.append(layer)
            width = units

    def call(self, inputs: Any) -> Any:
        """Scores float32 [B, C] of [B, D]."""
        for layer in self.dense:
            inputs = layer(inputs)
        return ops.cast(inputs, "float32")
