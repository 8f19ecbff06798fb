"""A learned factor for each channel of a residual branch."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from vl_models.layers.configured import ConfiguredLayer


class LayerScale(ConfiguredLayer):
    """Multiply each channel by a learned number that starts small.

    Source: Touvron et al., "Going deeper with Image Transformers", section 2.

    Args:
        initial: where every factor starts; BEiT's and VLMo's 0.1.
    """

    def __init__(self, initial: float = 0.1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.initial = initial

    def build(self, input_shape: Any) -> None:
        """Create ``scale`` [width]."""
        self.scale = self.add_weight(
            name="scale",
            shape=(input_shape[-1],),
            initializer=keras.initializers.Constant(self.initial),
        )

    def call(self, inputs: Any) -> Any:
        """Scale [..., width]."""
        return inputs * ops.cast(self.scale, inputs.dtype)
