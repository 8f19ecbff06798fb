"""One learned number that is added to all logits."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from vl_models.layers.configured import ConfiguredLayer


class Bias(ConfiguredLayer):
    """Add a learned scalar, in float32.

    Args:
        initial: where it starts.
    """

    def __init__(self, initial: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.initial = initial

    def build(self, input_shape: Any = None) -> None:
        """Create the float32 scalar."""
        self.bias = self.add_weight(
            name="bias",
            shape=(),
            initializer=keras.initializers.Constant(self.initial),
            dtype="float32",
            autocast=False,
        )

    def call(self, logits: Any) -> Any:
        """Shift logits of any shape, float32."""
        return ops.cast(logits, "float32") + self.value()

    def value(self) -> Any:
        """Return the bias, a float32 scalar with gradient."""
        return ops.convert_to_tensor(self.bias)
