"""Logits of what stood at hidden places."""

from __future__ import annotations

from typing import Any

import keras

from vl_models.layers import initializers
from vl_models.layers.configured import ConfiguredLayer
from vl_models.layers.gelu import exact_gelu
from vl_models.layers.layer_norm import LayerNorm


class PredictionHead(ConfiguredLayer):
    """Linear, GELU, norm, then linear to the classes, not tied to any embedding.

    Source: Devlin et al., "BERT: Pre-training of Deep Bidirectional Transformers for Language
    Understanding", published program; as ViLT, VLMo and FLAVA have it.

    Args:
        classes: K, tokens of a vocabulary or codes of a codebook.
        initializer_range: standard deviation of the kernels at the start.
    """

    def __init__(self, classes: int, initializer_range: float = 0.02, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.classes = classes
        self.initializer_range = initializer_range

    def build(self, input_shape: Any) -> None:
        """Create both linear maps and the norm."""
        width, policy = input_shape[-1], self.dtype_policy
        small = initializers.normal(self.initializer_range)
        self.transform = keras.layers.Dense(
            width, activation=exact_gelu, kernel_initializer=small, dtype=policy, name="transform"
        )
        self.norm = LayerNorm(1e-12, dtype=policy, name="norm")
        self.decoder = keras.layers.Dense(
            self.classes,
            kernel_initializer=initializers.fresh(small),
            dtype=policy,
            name="decoder",
        )
        for layer in (self.transform, self.norm, self.decoder):
            layer.build((None, width))

    def call(self, tokens: Any) -> Any:
        """Logits [..., K] of tokens [..., W]."""
        return self.decoder(self.norm(self.transform(tokens)))
