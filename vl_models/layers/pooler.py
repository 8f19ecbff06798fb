"""One vector of a sequence: its first token through a dense layer."""

from __future__ import annotations

from typing import Any

import keras

from vl_models.layers import initializers
from vl_models.layers.configured import ConfiguredLayer


class Pooler(ConfiguredLayer):
    """tanh of a linear map of the first token.

    Source: Devlin et al., "BERT: Pre-training of Deep Bidirectional Transformers for Language
    Understanding", published program.

    Args:
        initializer_range: standard deviation of the kernel at the start.
    """

    def __init__(self, initializer_range: float = 0.02, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.initializer_range = initializer_range

    def build(self, input_shape: Any) -> None:
        """Create the linear map."""
        self.dense = keras.layers.Dense(
            input_shape[-1],
            activation="tanh",
            kernel_initializer=initializers.normal(self.initializer_range),
            dtype=self.dtype_policy,
            name="dense",
        )
        self.dense.build((None, input_shape[-1]))

    def call(self, tokens: Any) -> Any:
        """Pool [B, L, W] to [B, W]."""
        return self.dense(tokens[:, 0])
