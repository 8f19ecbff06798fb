"""What tells one modality's tokens from the other's."""

from __future__ import annotations

from typing import Any

from keras import ops

from vl_models.layers import initializers
from vl_models.layers.configured import ConfiguredLayer


class TypeVector(ConfiguredLayer):
    """Add one learned vector to all tokens.

    Source: Kim et al., "ViLT: Vision-and-Language Transformer Without Convolution or Region
    Supervision", section 3.1 (modal-type embedding).
    """

    def build(self, input_shape: Any) -> None:
        """Create ``vector`` [width]."""
        self.vector = self.add_weight(
            name="vector", shape=(input_shape[-1],), initializer=initializers.normal(0.02)
        )

    def call(self, tokens: Any) -> Any:
        """Mark tokens [..., width]."""
        return tokens + ops.cast(self.vector, tokens.dtype)
