"""Encoders from configuration.

Every encoder gives ``hidden`` [B, L, W] (after the last block), ``tokens`` [B, L, W] (the same
after the last norm, where there is one) and ``pooled`` [B, W]: image encoders of images
[B, H, W, 3], text encoders of (token_ids [B, L], text_mask [B, L]), and an encoder of features of
either side of [B, d]. ``seeds`` int32 [B, 2] draw what is dropped in training.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import keras

from vl_models.encoders.config import (
    AnyImageConfig,
    FeatureEncoderConfig,
    KerasHubTextConfig,
    TextConfig,
    TextTransformerConfig,
)

# Kind → module in this folder and class: only what a configuration names is imported.
_IMAGE_ENCODERS = {
    "vit": ("vit", "ViTEncoder"),
    "cnn": ("cnn", "CNNEncoder"),
    "resnet": ("resnet", "ResNetEncoder"),
    "keras_hub": ("keras_hub_backbone", "KerasHubImageEncoder"),
    "features": ("feature_encoder", "FeatureEncoder"),
}
_TEXT_ENCODERS = {
    "transformer": ("text_transformer", "TextTransformer"),
    "bert": ("bert", "BertEncoder"),
    "unimodal_decoder": ("unimodal_decoder", "UnimodalDecoder"),
    "keras_hub": ("keras_hub_backbone", "KerasHubTextEncoder"),
    "features": ("feature_encoder", "FeatureEncoder"),
}


def build_image_encoder(config: AnyImageConfig, name: str, dtype: str) -> keras.layers.Layer:
    """Create an image encoder; the first image size it sees is the one it is built for.

    Args:
        config: one of the configurations of `ImageEncoderConfig`.
        name: name of the layer, the first part of its variables' paths.
        dtype: dtype policy, "float32" or "mixed_bfloat16".
    """
    return _encoder_class(_IMAGE_ENCODERS, config)(name=name, dtype=dtype, **_arguments(config))


def build_text_encoder(
    config: TextConfig,
    vocabulary_size: int | None,
    name: str,
    dtype: str,
    prefix_length: int = 0,
) -> keras.layers.Layer:
    """Create a text encoder.

    Args:
        config: one of the configurations of text encoders.
        vocabulary_size: number of token ids; a KerasHub class that is given its own
            ``vocabulary_size`` keeps it. None for features alone.
        name: name of the layer, the first part of its variables' paths.
        dtype: dtype policy, "float32" or "mixed_bfloat16".
        prefix_length: learned vectors before the tokens; `TextTransformer` only.

    Raises:
        ValueError: another encoder than `TextTransformer` is to take a prefix.
    """
    arguments = _arguments(config)
    if isinstance(config, TextTransformerConfig):
        arguments["prefix_length"] = prefix_length
    elif prefix_length:
        raise ValueError(
            "Only a text encoder of kind 'transformer' takes a prefix. "
            f"Received: kind={config.kind!r}"
        )
    if isinstance(config, KerasHubTextConfig):
        if config.backbone is not None:
            arguments["arguments"] = {"vocabulary_size": vocabulary_size, **config.arguments}
    elif not isinstance(config, FeatureEncoderConfig):
        arguments["vocabulary_size"] = vocabulary_size
    return _encoder_class(_TEXT_ENCODERS, config)(name=name, dtype=dtype, **arguments)


def _encoder_class(table: dict[str, tuple[str, str]], config: Any) -> type[keras.layers.Layer]:
    module, name = table[config.kind]
    return getattr(import_module(f"vl_models.encoders.{module}"), name)


def _arguments(config: AnyImageConfig | TextConfig) -> dict[str, Any]:
    """Return the constructor arguments: all keys but those that are no argument of the encoder."""
    # The width of features is the data's; the layer sees it when it is built.
    of_the_data = {"width"} if isinstance(config, FeatureEncoderConfig) else set()
    return config.model_dump(exclude={"kind"} | of_the_data)
