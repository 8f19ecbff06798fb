"""The mirror image of `CNNEncoder`: from a feature map back to pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from vl_models.encoders.cnn import ResidualConvolution
from vl_models.layers.configured import ConfiguredLayer
from vl_models.layers.gelu import get_activation
from vl_models.layers.layer_norm import LayerNorm


class CNNDecoder(ConfiguredLayer):
    """Residual convolutions at each resolution, transposed convolutions between them.

    The arguments are the encoder's, whose last stage is the first one here. A transposed
    convolution of stride s has a kernel of 2 s, so that neighbouring parts overlap.
    Source: van den Oord et al., "Neural Discrete Representation Learning", section 4.1.

    Args:
        widths: channels of the encoder's stages.
        blocks: residual convolutions per stage of the encoder.
        stem_stride: stride of the last transposed convolution.
        norm: "layer" or "group".
        activation: "gelu", "quick_gelu" or "relu".
    """

    def __init__(
        self,
        widths: Sequence[int] = (64, 128, 256),
        blocks: Sequence[int] = (1, 1, 1),
        stem_stride: int = 4,
        norm: str = "layer",
        activation: str = "relu",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.widths = tuple(widths)
        self.blocks = tuple(blocks)
        self.stem_stride = stem_stride
        self.norm = norm
        self.activation = activation
        policy = self.dtype_policy
        self.stages: list[keras.layers.Layer] = [
            keras.layers.Conv2D(
                self.widths[-1],
                3,
                padding="same",
                kernel_initializer="he_normal",
                dtype=policy,
                name="head",
            )
        ]
        for stage in reversed(range(len(self.widths))):
            for index in range(self.blocks[stage]):
                self.stages.append(
                    ResidualConvolution(
                        norm, activation, dtype=policy, name=f"stage_{stage}_block_{index}"
                    )
                )
            self.stages.append(LayerNorm(1e-5, dtype=policy, name=f"stage_{stage}_norm"))
            if stage:
                self.stages.append(self._upsample(self.widths[stage - 1], 2, f"stage_{stage}"))
        self.pixels = self._upsample(3, stem_stride, "pixels", initializer="glorot_uniform")

    def _upsample(
        self, filters: int, stride: int, name: str, initializer: str = "he_normal"
    ) -> keras.layers.Layer:
        return keras.layers.Conv2DTranspose(
            filters,
            2 * stride,
            strides=stride,
            padding="same",
            kernel_initializer=initializer,
            dtype=self.dtype_policy,
            name=f"{name}_upsample",
        )

    def build(self, input_shape: Any) -> None:
        """Create all variables."""
        shape = tuple(input_shape)
        for layer in (*self.stages, self.pixels):
            layer.build(shape)
            shape = layer.compute_output_shape(shape)

    def call(self, features: Any) -> Any:
        """Decode a feature map.

        Args:
            features: [B, h, w, D].

        Returns:
            float32 [B, H, W, 3], pixels as the encoder normalises them, not clipped.
        """
        x = ops.cast(features, self.compute_dtype)
        for layer in self.stages:
            x = layer(x)
            if isinstance(layer, LayerNorm):
                x = get_activation(self.activation)(x)
        return ops.cast(self.pixels(x), "float32")
