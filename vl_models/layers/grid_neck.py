"""From the map of a convolutional encoder to the cells that a transformer reads."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from vl_models.layers.batch_norm import BatchNorm
from vl_models.layers.configured import ConfiguredLayer


class GridNeck(ConfiguredLayer):
    """A convolution of size 1 to the width, a max-pooling, and batch normalisation.

    Source: Huang et al., "Seeing Out of tHe bOx" (SOHO), section 3.1: the convolution comes first.
    Its published program pools first; both are not the same.

    Args:
        width: W, of a cell.
        pool: side of the pooled squares, and their stride; 2 as published, 1 for no pooling.
        convolve_first: the paper's order, else the program's.
    """

    def __init__(
        self, width: int, pool: int = 2, convolve_first: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.width = width
        self.pool = pool
        self.convolve_first = convolve_first

    def build(self, input_shape: Any) -> None:
        """Create convolution and norm."""
        policy = self.dtype_policy
        self.convolution = keras.layers.Dense(
            self.width, kernel_initializer="he_normal", dtype=policy, name="convolution"
        )
        self.norm = BatchNorm(dtype=policy, name="norm")
        self.convolution.build(input_shape)
        self.norm.build((None, None, None, self.width))

    def call(self, maps: Any, valid: Any = None, training: bool = False) -> Any:
        """Make cells.

        Args:
            maps: [B, h, w, channels].
            valid: bool [B, h / pool, w / pool], False for cells of padding, which the statistics
                leave out.
            training: mode of the normalisation.

        Returns:
            [B, h / pool, w / pool, W].
        """
        x = self.convolution(maps) if self.convolve_first else maps
        if self.pool > 1:
            x = ops.max_pool(x, self.pool, self.pool)
        x = x if self.convolve_first else self.convolution(x)
        return self.norm(x, valid=valid, training=training)
