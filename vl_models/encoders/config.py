"""Configurations of encoders; nothing here imports Keras."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from vl_models.strict_config import StrictConfig

Activation = Literal["gelu", "quick_gelu", "relu"]
FeatureActivation = Literal["tanh", "relu", "linear"]
Channels = tuple[float, float, float]


class _PixelConfig(StrictConfig):
    """Normalisation of pixels: shares of 255."""

    mean: Channels = (0.5, 0.5, 0.5)
    standard_deviation: Channels = (0.5, 0.5, 0.5)


class _TransformerConfig(StrictConfig):
    """Sizes of a transformer; ``width`` must be a multiple of ``heads``.

    ``dropout`` leaves out units of the residual branches, ``drop_path`` whole branches of a row
    (Huang et al., "Deep Networks with Stochastic Depth": from 0 in the first block to this
    probability in the last); both are drawn by the rows' seeds.
    """

    width: PositiveInt = 192
    depth: PositiveInt = 4
    heads: PositiveInt = 3
    mlp_ratio: PositiveFloat = 4.0
    activation: Activation = "quick_gelu"
    epsilon: PositiveFloat = 1e-5
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    drop_path: float = Field(default=0.0, ge=0.0, lt=1.0)

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

    @property
    def stride(self) -> int:
        """Pixels from one token to the next."""
        return self.patch_size


class CNNConfig(_PixelConfig):
    """Configuration of `CNNEncoder`."""

    kind: Literal["cnn"]
    widths: tuple[PositiveInt, ...] = (64, 128, 256)
    blocks: tuple[int, ...] = (1, 1, 1)
    stem_stride: PositiveInt = 4
    norm: Literal["layer", "group"] = "layer"
    activation: Activation = "relu"

    @property
    def stride(self) -> int:
        """Pixels from one token to the next: every stage after the first halves the map."""
        return self.stem_stride * 2 ** (len(self.widths) - 1)

    @model_validator(mode="after")
    def _one_number_per_stage(self) -> CNNConfig:
        if len(self.widths) != len(self.blocks):
            raise ValueError(
                "widths and blocks must have one number per stage, "
                f"here widths={self.widths}, blocks={self.blocks}"
            )
        return self


class ResNetConfig(_PixelConfig):
    """Configuration of `ResNetEncoder`; pixels as published weights expect them."""

    kind: Literal["resnet"]
    blocks: tuple[PositiveInt, ...] = Field(default=(2, 2, 2, 2), min_length=1)
    block: Literal["basic", "bottleneck"] = "basic"
    width: PositiveInt = 64
    frozen_stages: NonNegativeInt = 0
    mean: Channels = (0.485, 0.456, 0.406)
    standard_deviation: Channels = (0.229, 0.224, 0.225)

    @property
    def stride(self) -> int:
        """Pixels from one token to the next."""
        return 4 * 2 ** (len(self.blocks) - 1)


class CodebookConfig(StrictConfig):
    """Configuration of `Codebook`; the defaults are VQ-VAE's with random restarts."""

    size: int = Field(default=512, ge=2)
    dim: PositiveInt = 32
    decay: float = Field(default=0.99, ge=0.0, lt=1.0)
    keep_unused: bool = True
    look_up_updated: bool = False
    restart_below: NonNegativeFloat = 0.5
    stddev: PositiveFloat = 1.0


class DictionaryConfig(StrictConfig):
    """Configuration of `VisualDictionary`; entries are as wide as what they are mixed with."""

    size: int = Field(default=2048, ge=2)
    decay: float = Field(default=0.99, ge=0.0, lt=1.0)
    keep_unused: bool = True
    restart_below: NonNegativeFloat = 0.0
    look_up_updated: bool = True


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


class UnimodalDecoderConfig(_TransformerConfig):
    """Configuration of `UnimodalDecoder`, CoCa's."""

    kind: Literal["unimodal_decoder"] = "unimodal_decoder"
    activation: Activation = "gelu"
    pooling: Literal["class", "mean"] = "class"
    shifted_mask: bool = False


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


AnyImageConfig = ViTConfig | CNNConfig | ResNetConfig | KerasHubImageConfig | FeatureEncoderConfig
AnyTextConfig = TextTransformerConfig | BertConfig | KerasHubTextConfig | FeatureEncoderConfig
# CoCa's alone: it needs the other half of the decoder.
TextConfig = AnyTextConfig | UnimodalDecoderConfig
ImageEncoderConfig = Annotated[AnyImageConfig, Field(discriminator="kind")]
# Those whose tokens are a square grid of known size.
GridEncoderConfig = Annotated[ViTConfig | CNNConfig | ResNetConfig, Field(discriminator="kind")]
TextEncoderConfig = Annotated[AnyTextConfig, Field(discriminator="kind")]


class TransformerPoolingConfig(StrictConfig):
    """Configuration of `TransformerPooling`; the defaults are BriVL's."""

    depth: PositiveInt = 4
    heads: PositiveInt = 4
    mlp_ratio: PositiveFloat = 1.0


class PatchPoolingConfig(TransformerPoolingConfig):
    """Configuration of `MultiScalePatchPooling` and the transformer over its regions."""

    grids: tuple[PositiveInt, ...] = Field(default=(1, 6), min_length=1)
    samples: PositiveInt = 4
