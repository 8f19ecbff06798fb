"""Layer normalisation in float32, whatever the dtype policy."""

from __future__ import annotations

from typing import Any

from keras import ops

from vl_models.layers.configured import ConfiguredLayer


class LayerNorm(ConfiguredLayer):
    """Normalise the last axis to mean 0 and variance 1, then scale and shift.

    Statistics, scale and shift are float32 under mixed precision too, as in CLIP.
    Source: Ba et al., "Layer Normalization", section 3.

    Args:
        epsilon: added to the variance. PyTorch 1e-5, timm's ViT 1e-6, BERT 1e-12.
    """

    def __init__(self, epsilon: float = 1e-5, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.epsilon = epsilon

    def build(self, input_shape: Any) -> None:
        """Create ``gamma`` and ``beta``, float32 [width]."""
        width = (input_shape[-1],)
        float32 = {"dtype": "float32", "autocast": False}
        self.gamma = self.add_weight(name="gamma", shape=width, initializer="ones", **float32)
        self.beta = self.add_weight(name="beta", shape=width, initializer="zeros", **float32)

    def call(self, inputs: Any) -> Any:
        """Normalise [..., width]; the result has the layer's compute dtype."""
        x = ops.cast(inputs, "float32")
        x = ops.layer_normalization(x, self.gamma, self.beta, axis=-1, epsilon=self.epsilon)
        return ops.cast(x, self.compute_dtype)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the input's shape."""
        return input_shape
