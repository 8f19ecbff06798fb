"""Cells of a map as the image's part of a joint sequence."""

from __future__ import annotations

from typing import Any

from keras import ops

from vl_models.layers import initializers
from vl_models.layers.configured import ConfiguredLayer
from vl_models.layers.layer_norm import LayerNorm
from vl_models.layers.sine_positions import sine_positions


class CellEmbedding(ConfiguredLayer):
    """Hide masked cells, add fixed positions, normalise.

    Source: Huang et al., "Seeing Out of tHe bOx" (SOHO), section 3.3, and its published program.

    Args:
        epsilon: of the layer normalisation.
    """

    def __init__(self, epsilon: float = 1e-12, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.epsilon = epsilon

    def build(self, input_shape: Any) -> None:
        """Create the vector of masked cells, and the norm."""
        self.mask_vector = self.add_weight(
            name="mask_vector", shape=(input_shape[-1],), initializer=initializers.normal(0.02)
        )
        self.norm = LayerNorm(self.epsilon, dtype=self.dtype_policy, name="norm")
        self.norm.build(input_shape)

    def call(self, cells: Any, valid: Any, masked: Any = None) -> Any:
        """Embed cells.

        Args:
            cells: [B, N, W], row by row.
            valid: bool [B, rows, columns], False for padding.
            masked: bool [B, N], True = hidden.

        Returns:
            [B, N, W].
        """
        if masked is not None:
            cells = ops.where(masked[..., None], ops.cast(self.mask_vector, cells.dtype), cells)
        positions = sine_positions(valid, cells.shape[-1])
        positions = ops.reshape(positions, (-1, *cells.shape[1:]))
        return self.norm(cells + ops.cast(positions, cells.dtype))
