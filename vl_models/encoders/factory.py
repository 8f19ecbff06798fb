"""Encoders from configuration.

Every image encoder maps ``images [B, H, W, 3]`` to ``{"tokens": [B, L, W], "pooled": [B, W]}``,
every text encoder does so with ``(token_ids [B, L], text_mask [B, L])``, and an encoder of
features of either side with ``features [B, d]``.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import keras
from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from vl_models.encoders.bert import BertEncoder
from vl_models.encoders.cnn import CNNEncoder
from vl_models.encoders.feature_encoder import Activation as FeatureActivation
from vl_models.encoders.feature_encoder import FeatureEncoder
from vl_models.encoders.keras_hub_backbone import KerasHubImageEncoder, KerasHubTextEncoder
from vl_models.encoders.text_transformer import TextTransformer
from vl_models.encoders.vit import ViTEncoder
from vl_models.strict_config import StrictConfig

Activation = Literal["gelu", "quick_gelu", "relu"]
Channels = tuple[float, float, float]


class _PixelConfig(StrictConfig):
    """Normalisation of pixels: shares of 255."""

    mean: Channels = (0.5, 0.5, 0.5)
    standard_deviation: Channels = (0.5, 0.5, 0.5)


class _TransformerConfig(StrictConfig):
    """Sizes of a transformer; ``width`` must be a multiple of ``heads``."""

    width: PositiveInt = 192
    depth: PositiveInt = 4
    heads: PositiveInt = 3
    mlp_ratio: PositiveFloat = 4.0
    activation: Activation = "quick_gelu"
    epsilon: PositiveFloat = 1e-5

    @model_validator(mode="after")
    def _heads_divide_width(self) -> _TransformerConfig:
        if self.width % self.heads:
            raise ValueError(
                f"width must be a multiple of heads, here width={self.width}, heads={self.heads}"
            )
        return self


class ViTConfig(_TransformerConfig, _PixelConfig):
    """Configuration of `ViTEncoder`."""

    kind: Literal["vit"]
    patch_size: PositiveInt = 8
    pooling: Literal["cls", "mean"] = "cls"


class CNNConfig(_PixelConfig):
    """Configuration of `CNNEncoder`."""

    kind: Literal["cnn"]
    widths: tuple[PositiveInt, ...] = (64, 128, 256)
    blocks: tuple[int, ...] = (1, 1, 1)
    stem_stride: PositiveInt = 4
    norm: Literal["layer", "group"] = "layer"
    activation: Activation = "relu"

    @model_validator(mode="after")
    def _one_number_per_stage(self) -> CNNConfig:
        if len(self.widths) != len(self.blocks):
            raise ValueError(
                "widths and blocks must have one number per stage, "
                f"here widths={self.widths}, blocks={self.blocks}"
            )
        return self


class _BackboneConfig(StrictConfig):
    """Which backbone of KerasHub: a class with its arguments, or a local preset."""

    kind: Literal["keras_hub"]
    backbone: str | None = None
    arguments: dict[str, Any] = Field(default_factory=dict)
    preset: str | None = None
    pooling: Literal["cls", "mean"] = "mean"

    @model_validator(mode="after")
    def _backbone_or_preset(self) -> _BackboneConfig:
        if (self.backbone is None) == (self.preset is None):
            raise ValueError("exactly one of backbone and preset must be given")
        return self


class KerasHubImageConfig(_BackboneConfig, _PixelConfig):
    """Configuration of `KerasHubImageEncoder`."""


class KerasHubTextConfig(_BackboneConfig):
    """Configuration of `KerasHubTextEncoder`."""


class TextTransformerConfig(_TransformerConfig):
    """Configuration of `TextTransformer`."""

    kind: Literal["transformer"]
    causal: bool = False
    pooling: Literal["cls", "mean", "eot"] = "mean"

    @model_validator(mode="after")
    def _first_token_sees_others(self) -> TextTransformerConfig:
        if self.causal and self.pooling == "cls":
            raise ValueError("pooling 'cls' needs causal: false; take 'eot' or 'mean'")
        return self


class BertConfig(_TransformerConfig):
    """Configuration of `BertEncoder`."""

    kind: Literal["bert"]
    activation: Activation = "gelu"
    epsilon: PositiveFloat = 1e-12
    pooling: Literal["cls", "mean"] = "cls"


class FeatureEncoderConfig(StrictConfig):
    """Configuration of `FeatureEncoder`; ``width`` is the data's, the trainer sets it."""

    kind: Literal["features"]
    width: PositiveInt | None = None
    hidden_widths: tuple[PositiveInt, ...] = ()
    activation: FeatureActivation = "tanh"
    standardize: bool = True
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    input_dropout: float = Field(default=0.0, ge=0.0, lt=1.0)


AnyImageConfig = ViTConfig | CNNConfig | KerasHubImageConfig | FeatureEncoderConfig
AnyTextConfig = TextTransformerConfig | BertConfig | KerasHubTextConfig | FeatureEncoderConfig
ImageEncoderConfig = Annotated[AnyImageConfig, Field(discriminator="kind")]
TextEncoderConfig = Annotated[AnyTextConfig, Field(discriminator="kind")]

_IMAGE_ENCODERS: dict[str, type[keras.layers.Layer]] = {
    "vit": ViTEncoder,
    "cnn": CNNEncoder,
    "keras_hub": KerasHubImageEncoder,
    "features": FeatureEncoder,
}


def build_image_encoder(config: AnyImageConfig, name: str, dtype: str) -> keras.layers.Layer:
    """Create an image encoder; the first image size it sees is the one it is built for.

    Args:
      config: one of the configurations of `ImageEncoderConfig`.
      name: name of the layer, the first part of its variables' paths.
      dtype: dtype policy, "float32" or "mixed_bfloat16".
    """
    arguments = config.model_dump(exclude={"kind"} | _of_the_data(config))
    return _IMAGE_ENCODERS[config.kind](name=name, dtype=dtype, **arguments)


def build_text_encoder(
    config: AnyTextConfig,
    vocabulary_size: int | None,
    name: str,
    dtype: str,
    prefix_length: int = 0,
) -> keras.layers.Layer:
    """Create a text encoder.

    Args:
      config: one of the configurations of `TextEncoderConfig`.
      vocabulary_size: number of token ids; a KerasHub class that is given its own
        ``vocabulary_size`` keeps it. None for features alone.
      name: name of the layer, the first part of its variables' paths.
      dtype: dtype policy, "float32" or "mixed_bfloat16".
      prefix_length: learned vectors before the tokens; `TextTransformer` only.

    Raises:
      ValueError: another encoder than `TextTransformer` is to take a prefix.
    """
    arguments = config.model_dump(exclude={"kind"} | _of_the_data(config))
    if isinstance(config, FeatureEncoderConfig):
        return FeatureEncoder(name=name, dtype=dtype, **arguments)
    assert vocabulary_size is not None, "a text encoder of tokens"
    if isinstance(config, TextTransformerConfig):
        return TextTransformer(
            vocabulary_size, name=name, dtype=dtype, prefix_length=prefix_length, **arguments
        )
    if prefix_length:
        raise ValueError(
            "Only a text encoder of kind 'transformer' takes a prefix. "
            f"Received: kind={config.kind!r}"
        )
    if isinstance(config, BertConfig):
        return BertEncoder(vocabulary_size, name=name, dtype=dtype, **arguments)
    if config.backbone is not None:
        arguments["arguments"] = {"vocabulary_size": vocabulary_size, **config.arguments}
    return KerasHubTextEncoder(name=name, dtype=dtype, **arguments)


def _of_the_data(config: AnyImageConfig | AnyTextConfig) -> set[str]:
    """Keys that tell of the data and are no argument of the encoder."""
    return {"width"} if isinstance(config, FeatureEncoderConfig) else set()
