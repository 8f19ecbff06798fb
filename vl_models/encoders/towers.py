"""Towers as sequences of layers: encoder, what pools its tokens, projection.

A query tower and its momentum encoder are two such sequences, encoded by one function.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import keras
import tensorflow as tf
from pydantic import Field, PositiveFloat, PositiveInt

from vl_models.encoders.feature_encoder import FeatureEncoder
from vl_models.layers.multi_scale_patch_pooling import MultiScalePatchPooling
from vl_models.layers.transformer_pooling import TransformerPooling
from vl_models.row_random import stream_seed
from vl_models.strict_config import StrictConfig

# Streams of a row's randomness; a text's is that of its place among its image's.
_IMAGE, _TEXT = 31, 1000


class TransformerPoolingConfig(StrictConfig):
    """Configuration of `TransformerPooling`; the defaults are BriVL's."""

    depth: PositiveInt = 4
    heads: PositiveInt = 4
    mlp_ratio: PositiveFloat = 1.0


class PatchPoolingConfig(TransformerPoolingConfig):
    """Configuration of `MultiScalePatchPooling` and the transformer over its regions."""

    grids: tuple[PositiveInt, ...] = Field(default=(1, 6), min_length=1)
    samples: PositiveInt = 4


def image_pooling_layers(
    config: PatchPoolingConfig | None, dtype: str
) -> tuple[keras.layers.Layer, ...]:
    """Layers ``image_regions`` and ``image_pooling``; none without a configuration."""
    if config is None:
        return ()
    return (
        MultiScalePatchPooling(config.grids, config.samples, dtype=dtype, name="image_regions"),
        TransformerPooling(
            config.depth, config.heads, config.mlp_ratio, dtype=dtype, name="image_pooling"
        ),
    )


def text_pooling_layers(
    config: TransformerPoolingConfig | None, dtype: str
) -> tuple[keras.layers.Layer, ...]:
    """Layer ``text_pooling``; none without a configuration."""
    if config is None:
        return ()
    return (
        TransformerPooling(
            config.depth, config.heads, config.mlp_ratio, dtype=dtype, name="text_pooling"
        ),
    )


def image_input(encoder: keras.layers.Layer) -> str:
    """Key of a batch that an image encoder reads."""
    return "image_features" if isinstance(encoder, FeatureEncoder) else "image"


def text_input(encoder: keras.layers.Layer) -> str:
    """Key of a batch that a text encoder reads; tokens have their mask beside them."""
    return "text_features" if isinstance(encoder, FeatureEncoder) else "token_ids"


def run_image_encoder(
    encoder: keras.layers.Layer, batch: Mapping[str, tf.Tensor], training: bool
) -> dict[str, tf.Tensor]:
    """What an image encoder makes of a batch: ``tokens`` [B, L, W] and ``pooled`` [B, W]."""
    if not isinstance(encoder, FeatureEncoder):
        return encoder(batch["image"], training=training)
    seeds = stream_seed(batch["seed"], _IMAGE) if "seed" in batch else None
    return encoder(batch["image_features"], seeds, training=training)


def run_text_encoder(
    encoder: keras.layers.Layer, batch: Mapping[str, tf.Tensor], training: bool
) -> dict[str, tf.Tensor]:
    """What a text encoder makes of a batch: ``tokens`` [B·n, L, W] and ``pooled`` [B·n, W]."""
    if not isinstance(encoder, FeatureEncoder):
        return encoder(batch["token_ids"], batch["text_mask"], training=training)
    features, seeds = batch["text_features"], None
    if "seed" in batch:
        per_image = features.shape[0] // batch["seed"].shape[0]
        streams = [stream_seed(batch["seed"], _TEXT + place) for place in range(per_image)]
        seeds = tf.reshape(tf.stack(streams, axis=1), [-1, 2])
    return encoder(features, seeds, training=training)


def encode_images(
    layers: Sequence[keras.layers.Layer], images: tf.Tensor, training: bool
) -> tf.Tensor:
    """Embed images by a tower.

    Args:
      layers: encoder, pooling layers over its tokens (or none: its pooled vector), projection.
      images: uint8 or float [B, H, W, 3], or the features that stand for them, [B, d].
      training: mode of the encoder.

    Returns:
      What the projection gives, [B, D].
    """
    encoder, *pooling, projection = layers
    encoded = encoder(images, training=training)
    x = encoded["tokens"] if pooling else encoded["pooled"]
    for layer in pooling:
        x = layer(x)
    return projection(x)


def encode_texts(
    layers: Sequence[keras.layers.Layer], batch: Mapping[str, tf.Tensor], training: bool
) -> tf.Tensor:
    """Embed texts by a tower.

    Args:
      layers: encoder, one pooling layer over its tokens or none, projection.
      batch: ``token_ids`` int32 [B, L] and ``text_mask`` bool [B, L], or ``text_features``.
      training: mode of the encoder.

    Returns:
      What the projection gives, [B, D].
    """
    encoder, *pooling, projection = layers
    encoded = run_text_encoder(encoder, batch, training)
    x = encoded["pooled"]
    for layer in pooling:
        x = layer(encoded["tokens"], batch["text_mask"])
    return projection(x)
