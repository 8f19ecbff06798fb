"""ResNet, in the layout that most published weights have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from vl_models.layers.batch_norm import BatchNorm
from vl_models.layers.configured import ConfiguredLayer
from vl_models.layers.extent import within
from vl_models.layers.pixel_norm import PixelNormalization

_EXPANSION = {"basic": 1, "bottleneck": 4}


def _padded(x: Any, side: int) -> Any:
    """Zeros on all four sides: a convolution of stride 2 is not centred by Keras' "same"."""
    return ops.pad(x, ((0, 0), (side, side), (side, side), (0, 0)))


class _Convolution(ConfiguredLayer):
    """A convolution without bias, and a batch normalisation."""

    def __init__(self, filters: int, kernel: int, stride: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.filters = filters
        self.kernel = kernel
        self.stride = stride

    def build(self, input_shape: Any) -> None:
        policy = self.dtype_policy
        self.convolution = keras.layers.Conv2D(
            self.filters,
            self.kernel,
            strides=self.stride,
            use_bias=False,
            kernel_initializer="he_normal",
            dtype=policy,
            name="convolution",
        )
        self.norm = BatchNorm(dtype=policy, name="norm")
        self.convolution.build(input_shape)
        self.norm.build((None, None, None, self.filters))

    def call(self, inputs: Any, training: bool = False) -> Any:
        x = _padded(inputs, self.kernel // 2) if self.kernel > 1 else inputs
        return self.norm(self.convolution(x), training=training)


class ResNetBlock(ConfiguredLayer):
    """relu(x + convolutions(x)), of two convolutions or of three with a narrow one in the middle.

    Where the shape changes, x goes through a convolution of size 1, too.
    Source: He et al., "Deep Residual Learning for Image Recognition", figure 5; the stride is in
    the middle convolution of three, as in the weights that are published today.

    Args:
        width: channels of the narrow convolutions.
        kind: "basic" or "bottleneck".
        stride: of the block.
    """

    def __init__(self, width: int, kind: str = "basic", stride: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.width = width
        self.kind = kind
        self.stride = stride

    def build(self, input_shape: Any) -> None:
        """Create the convolutions."""
        width, filters = self.width, self.width * _EXPANSION[self.kind]
        sizes = [(width, 3, self.stride), (filters, 3, 1)]
        if self.kind == "bottleneck":
            sizes = [(width, 1, 1), (width, 3, self.stride), (filters, 1, 1)]
        channels = input_shape[-1]
        self.parts = []
        for number, (out, kernel, stride) in enumerate(sizes):
            self.parts.append(self._part(channels, out, kernel, stride, f"part_{number}"))
            channels = out
        self.shortcut = None
        if self.stride > 1 or input_shape[-1] != filters:
            self.shortcut = self._part(input_shape[-1], filters, 1, self.stride, "shortcut")

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Transform [B, h, w, channels]."""
        x = inputs
        for number, part in enumerate(self.parts):
            x = part(ops.relu(x) if number else x, training=training)
        if self.shortcut is not None:
            inputs = self.shortcut(inputs, training=training)
        return ops.relu(x + inputs)

    def _part(self, channels: int, filters: int, kernel: int, stride: int, name: str) -> Any:
        part = _Convolution(filters, kernel, stride, dtype=self.dtype_policy, name=name)
        part.build((None, None, None, channels))
        return part


class ResNetEncoder(ConfiguredLayer):
    """A stem of stride 4, then stages of residual blocks, each after the first at half the size.

    Batch normalisation is over the global batch (`BatchNorm`).
    Source: He et al., "Deep Residual Learning for Image Recognition", table 1.

    Args:
        blocks: blocks of each stage: 2, 2, 2, 2 of ResNet-18; 3, 4, 6, 3 of 34 and 50; 3, 4, 23, 3
            of 101.
        block: "basic" (18, 34) or "bottleneck" (50, 101, 152).
        width: channels of the first stage's narrow convolutions.
        frozen_stages: how many stages, with the stem, keep their weights and their moving
            statistics; 0 for none, not even the stem.
        mean: channel means of the pixels, as shares of 255.
        standard_deviation: channel standard deviations, as shares of 255.
    """

    def __init__(
        self,
        blocks: Sequence[int] = (2, 2, 2, 2),
        block: str = "basic",
        width: int = 64,
        frozen_stages: int = 0,
        mean: Sequence[float] = (0.485, 0.456, 0.406),
        standard_deviation: Sequence[float] = (0.229, 0.224, 0.225),
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        self.blocks = tuple(blocks)
        self.block = block
        self.width = width
        self.frozen_stages = frozen_stages
        self.mean = tuple(mean)
        self.standard_deviation = tuple(standard_deviation)
        policy = self.dtype_policy
        self.pixel_norm = PixelNormalization(
            self.mean, self.standard_deviation, dtype=policy, name="pixel_norm"
        )
        self.stem = _Convolution(width, 7, 2, dtype=policy, name="stem")
        self.stages = [
            [
                ResNetBlock(
                    width * 2**stage,
                    block,
                    2 if stage and not index else 1,
                    dtype=policy,
                    name=f"stage_{stage}_block_{index}",
                )
                for index in range(count)
            ]
            for stage, count in enumerate(self.blocks)
        ]

    def build(self, input_shape: Any) -> None:
        """Create all variables."""
        self.stem.build((None, None, None, 3))
        channels = self.width
        for stage, blocks in enumerate(self.stages):
            for block in blocks:
                block.build((None, None, None, channels))
                channels = self.width * 2**stage * _EXPANSION[self.block]
        if self.frozen_stages:
            frozen = [block for blocks in self.stages[: self.frozen_stages] for block in blocks]
            for layer in (self.stem, *frozen):  # after they have their variables
                layer.trainable = False

    def call(
        self, images: Any, seeds: Any = None, extent: Any = None, training: bool = False
    ) -> dict[str, Any]:
        """Encode images.

        Args:
            images: uint8 or float [B, H, W, 3], values 0…255.
            seeds: unused; nothing is dropped.
            extent: int32 [B, 2], height and width of the picture from the top left corner; what is
                beyond is zero behind the normalisation of pixels.
            training: whether batch statistics are used, and moved.

        Returns:
            ``hidden`` [B, h·w, W], the last feature map, ``tokens``, which are the same, and
            ``pooled`` [B, W], the mean of the map.
        """
        x = self.pixel_norm(images)
        if extent is not None:
            x = x * tf.cast(within(extent, x.shape[1:3])[..., None], x.dtype)
        trained = training and not self.frozen_stages
        x = ops.relu(self.stem(x, training=trained))
        # What comes before is not negative, so that zeros are as good as no border.
        x = ops.max_pool(_padded(x, 1), 3, 2)
        for stage, blocks in enumerate(self.stages):
            trained = training and stage >= self.frozen_stages
            for block in blocks:
                x = block(x, training=trained)
        x = ops.reshape(x, (-1, x.shape[1] * x.shape[2], x.shape[3]))
        return {"hidden": x, "tokens": x, "pooled": ops.mean(x, axis=1)}
