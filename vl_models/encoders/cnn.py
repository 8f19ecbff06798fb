"""A small residual convolutional network for small images and modest machines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from vl_models.layers.configured import ConfiguredLayer
from vl_models.layers.gelu import get_activation
from vl_models.layers.layer_norm import LayerNorm
from vl_models.layers.pixel_norm import PixelNormalization

_GROUPS = 8


def _convolution(
    filters: int, kernel: int, stride: int, policy: Any, name: str, initializer: str = "he_normal"
) -> keras.layers.Conv2D:
    return keras.layers.Conv2D(
        filters,
        kernel,
        strides=stride,
        padding="same",
        kernel_initializer=initializer,
        dtype=policy,
        name=name,
    )


def _norm(kind: str, policy: Any, name: str) -> keras.layers.Layer:
    if kind == "layer":
        return LayerNorm(1e-5, dtype=policy, name=name)
    return keras.layers.GroupNormalization(_GROUPS, epsilon=1e-5, dtype=policy, name=name)


class ResidualConvolution(ConfiguredLayer):
    """x + conv3x3(activation(conv3x3(norm(x)))), an identity when it is new.

    Source: He et al., "Identity Mappings in Deep Residual Networks", figure 4(e).

    Args:
        norm: "layer" (over the channels of each position) or "group" (8 groups).
        activation: "gelu", "quick_gelu" or "relu".
    """

    def __init__(self, norm: str = "layer", activation: str = "relu", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.norm = norm
        self.activation = activation

    def build(self, input_shape: Any) -> None:
        """Create the norm and the two convolutions; the second starts at zero."""
        filters, policy = input_shape[-1], self.dtype_policy
        self.input_norm = _norm(self.norm, policy, "norm")
        self.first = _convolution(filters, 3, 1, policy, "convolution_1")
        self.second = _convolution(filters, 3, 1, policy, "convolution_2", "zeros")
        for layer in (self.input_norm, self.first, self.second):
            layer.build(input_shape)

    def call(self, inputs: Any) -> Any:
        """Transform [B, h, w, channels]; shape and dtype stay."""
        x = get_activation(self.activation)(self.first(self.input_norm(inputs)))
        return inputs + self.second(x)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the input's shape."""
        return input_shape


class CNNEncoder(ConfiguredLayer):
    """A strided stem, then stages of residual convolutions, each at half the resolution.

    No batch normalisation: its statistics would differ between one and several replicas,
    and between training and serving.

    Args:
        widths: channels of the stages; the last one is W.
        blocks: residual convolutions per stage, as many numbers as ``widths``.
        stem_stride: stride (and kernel size) of the stem, for example 4.
        norm: "layer" or "group".
        activation: "gelu", "quick_gelu" or "relu".
        mean: channel means of the pixels, as shares of 255.
        standard_deviation: channel standard deviations, as shares of 255.
    """

    def __init__(
        self,
        widths: Sequence[int] = (64, 128, 256),
        blocks: Sequence[int] = (1, 1, 1),
        stem_stride: int = 4,
        norm: str = "layer",
        activation: str = "relu",
        mean: Sequence[float] = (0.5, 0.5, 0.5),
        standard_deviation: Sequence[float] = (0.5, 0.5, 0.5),
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        if len(widths) != len(blocks):
            raise ValueError(
                "`widths` and `blocks` must have one number per stage. "
                f"Received: widths={tuple(widths)}, blocks={tuple(blocks)}"
            )
        self.widths = tuple(widths)
        self.blocks = tuple(blocks)
        self.stem_stride = stem_stride
        self.norm = norm
        self.activation = activation
        self.mean = tuple(mean)
        self.standard_deviation = tuple(standard_deviation)
        policy = self.dtype_policy
        self.pixel_norm = PixelNormalization(
            self.mean, self.standard_deviation, dtype=policy, name="pixel_norm"
        )
        self.stages: list[keras.layers.Layer] = [
            _convolution(self.widths[0], stem_stride, stem_stride, policy, "stem")
        ]
        for stage, (width, count) in enumerate(zip(self.widths, self.blocks, strict=True)):
            if stage:
                self.stages.append(_norm(norm, policy, f"stage_{stage}_norm"))
                self.stages.append(_convolution(width, 2, 2, policy, f"stage_{stage}_downsample"))
            for index in range(count):
                self.stages.append(
                    ResidualConvolution(
                        norm, activation, dtype=policy, name=f"stage_{stage}_block_{index}"
                    )
                )
        self.norm_after = LayerNorm(1e-5, dtype=policy, name="norm_after")

    def build(self, input_shape: Any) -> None:
        """Create all variables."""
        shape = tuple(input_shape)
        for layer in self.stages:
            layer.build(shape)
            shape = layer.compute_output_shape(shape)
        self.norm_after.build((None, self.widths[-1]))

    def call(self, images: Any, seeds: Any = None, training: bool = False) -> dict[str, Any]:
        """Encode images.

        Args:
            images: uint8 or float [B, H, W, 3], values 0…255.
            seeds: unused; nothing is dropped.
            training: unused; the network has no mode.

        Returns:
            ``hidden`` [B, h·w, W], the last feature map, ``tokens``, the same normalised, and
            ``pooled`` [B, W], the mean of the map, normalised.
        """
        x = self.pixel_norm(images)
        for layer in self.stages:
            x = layer(x)
        x = ops.reshape(x, (-1, x.shape[1] * x.shape[2], self.widths[-1]))
        pooled = self.norm_after(ops.mean(ops.cast(x, "float32"), axis=1))
        return {"hidden": x, "tokens": self.norm_after(x), "pooled": pooled}
