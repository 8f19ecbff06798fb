"""Scores of answers from one vector of a question and its image."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from vl_models.layers import initializers
from vl_models.layers.configured import ConfiguredLayer
from vl_models.layers.gelu import exact_gelu
from vl_models.layers.layer_norm import LayerNorm


class AnswerHead(ConfiguredLayer):
    """Linear to twice the width, norm, GELU, linear to the answers.

    Source: Kim et al., "ViLT", published program (`vqa_classifier`, `nlvr2_classifier`).

    Args:
        answers: A.
        hidden_width: of the layer between; 2W.
    """

    def __init__(self, answers: int, hidden_width: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.answers = answers
        self.hidden_width = hidden_width

    def build(self, input_shape: Any) -> None:
        """Create both linear maps and the norm."""
        policy, small = self.dtype_policy, initializers.normal(0.02)
        self.hidden = keras.layers.Dense(
            self.hidden_width, kernel_initializer=small, dtype=policy, name="hidden"
        )
        self.norm = LayerNorm(1e-5, dtype=policy, name="norm")
        self.scores = keras.layers.Dense(
            self.answers, kernel_initializer=initializers.fresh(small), dtype=policy, name="scores"
        )
        self.hidden.build((None, input_shape[-1]))
        for layer in (self.norm, self.scores):
            layer.build((None, self.hidden_width))

    def call(self, pooled: Any) -> Any:
        """Scores float32 [B, A] of [B, any width]."""
        x = exact_gelu(self.norm(self.hidden(pooled)))
        return ops.cast(self.scores(x), "float32")
