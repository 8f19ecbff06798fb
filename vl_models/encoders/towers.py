"""Towers as sequences of layers: encoder, what pools its tokens, projection.

A query tower and its momentum encoder are two such sequences, encoded by one function.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import keras
import tensorflow as tf

from vl_models.row_random import stream_seed

# Streams of a row's randomness; a text's is that of its place among its image's.
_IMAGE, _TEXT = 31, 1000


def image_input(encoder: keras.layers.Layer) -> str:
    """Key of a batch that an image encoder reads."""
    return "image_features" if _reads_features(encoder) else "image"


def text_input(encoder: keras.layers.Layer) -> str:
    """Key of a batch that a text encoder reads; tokens have their mask beside them."""
    return "text_features" if _reads_features(encoder) else "token_ids"


def run_image_encoder(
    encoder: keras.layers.Layer, batch: Mapping[str, tf.Tensor], training: bool
) -> dict[str, tf.Tensor]:
    """Return what an image encoder makes of a batch: ``hidden``, ``tokens`` and ``pooled``."""
    seeds = stream_seed(batch["seed"], _IMAGE) if "seed" in batch else None
    return encoder(batch[image_input(encoder)], seeds=seeds, training=training)


def run_text_encoder(
    encoder: keras.layers.Layer,
    batch: Mapping[str, tf.Tensor],
    training: bool,
    prefix: tf.Tensor | None = None,
) -> dict[str, tf.Tensor]:
    """Return what a text encoder makes of a batch: ``hidden``, ``tokens`` and ``pooled``.

    ``prefix`` [B·n, P, W] goes before the tokens of an encoder that takes one.
    """
    key = text_input(encoder)
    inputs = [batch[key]] if key == "text_features" else [batch[key], batch["text_mask"]]
    if prefix is not None:
        inputs.append(prefix)
    return encoder(*inputs, seeds=text_seeds(batch, batch[key].shape[0]), training=training)


def encode_images(
    layers: Sequence[keras.layers.Layer], batch: Mapping[str, tf.Tensor], training: bool
) -> tf.Tensor:
    """Embed images by a tower.

    Args:
        layers: encoder, pooling layers over its hidden states (or none: its pooled vector),
            projection.
        batch: ``image`` uint8 or float [B, H, W, 3], or ``image_features`` [B, d]; ``seed`` to
            drop.
        training: mode of the encoder.

    Returns:
        What the projection gives, [B, D].
    """
    encoder, *pooling, projection = layers
    encoded = run_image_encoder(encoder, batch, training)
    x = encoded["hidden"] if pooling else encoded["pooled"]
    for layer in pooling:
        x = layer(x)
    return projection(x)


def encode_texts(
    layers: Sequence[keras.layers.Layer],
    batch: Mapping[str, tf.Tensor],
    training: bool,
    prefix: tf.Tensor | None = None,
) -> tf.Tensor:
    """Embed texts by a tower.

    Args:
        layers: encoder, one pooling layer over its tokens or none, projection.
        batch: ``token_ids`` int32 [B, L] and ``text_mask`` bool [B, L], or ``text_features``.
        training: mode of the encoder.
        prefix: see `run_text_encoder`.

    Returns:
        What the projection gives, [B, D].
    """
    encoder, *pooling, projection = layers
    encoded = run_text_encoder(encoder, batch, training, prefix)
    x = encoded["pooled"]
    for layer in pooling:
        x = layer(encoded["tokens"], batch["text_mask"])
    return projection(x)


def _reads_features(encoder: keras.layers.Layer) -> bool:
    # An attribute, not the class: only encoders that a configuration names are imported.
    return getattr(encoder, "reads_features", False)


def text_seeds(
    batch: Mapping[str, tf.Tensor], texts: int | None, stream: int | None = None
) -> tf.Tensor | None:
    """Seeds int32 [B·n, 2] of the texts of all rows, image-major; of another stream if asked."""
    if "seed" not in batch or not texts:
        return None
    seeds = batch["seed"] if stream is None else stream_seed(batch["seed"], stream)
    per_image = texts // seeds.shape[0]
    streams = [stream_seed(seeds, _TEXT + place) for place in range(per_image)]
    return tf.reshape(tf.stack(streams, axis=1), [-1, 2])
