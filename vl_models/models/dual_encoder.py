"""What the dual encoders have in common: two towers and one unit sphere."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import keras
import tensorflow as tf

from vl_models.batch import Batch, Outputs
from vl_models.encoders.config import FeatureEncoderConfig
from vl_models.encoders.factory import build_image_encoder, build_text_encoder
from vl_models.encoders.towers import encode_images, encode_texts, image_input, text_input
from vl_models.layers.projection import Projection
from vl_models.models.base import VisionLanguageModel
from vl_models.models.dual_encoder_config import DualEncoderConfig
from vl_models.tasks.factory import build_tasks

Layers = tuple[keras.layers.Layer, ...]


class DualEncoder(VisionLanguageModel):
    """Image tower, text tower, projections to unit-norm embeddings; the loss is the system's.

    A batch with one modality alone is encoded as far as it goes, and has no loss of pairs.

    Args:
        config: sizes and options; ``vocabulary_size`` must be set for a text encoder of tokens,
            ``width`` for one of features.
        projection: makes the last layer of a tower, given its ``name``; `Projection` by default.
        image_projection: the last layer of the image tower, where it is another one.
        prefix_length: vectors before the tokens of every text.

    Raises:
        ValueError: a size that is the data's is None.
    """

    config: DualEncoderConfig

    def __init__(
        self,
        config: DualEncoderConfig,
        *,
        projection: Callable[..., keras.layers.Layer] | None = None,
        image_projection: keras.layers.Layer | None = None,
        prefix_length: int = 0,
    ) -> None:
        _check_complete(config)
        super().__init__(config)
        precision = config.precision
        if projection is None:
            projection = functools.partial(Projection, config.embedding_dim, dtype=precision)
        self.image_encoder = build_image_encoder(config.image, "image_encoder", precision)
        self.text_encoder = build_text_encoder(
            config.text, config.vocabulary_size, "text_encoder", precision, prefix_length
        )
        if config.shared_projection:
            self.image_projection = self.text_projection = projection(name="shared_projection")
        else:
            self.image_projection = image_projection or projection(name="image_projection")
            self.text_projection = projection(name="text_projection")
        self.tasks = build_tasks(config.tasks, config.num_labels, config.num_text_labels)

    @property
    def image_layers(self) -> Layers:
        """The image tower: encoder, pooling layers if any, projection."""
        return self.image_encoder, self.image_projection

    @property
    def text_layers(self) -> Layers:
        """The text tower, likewise."""
        return self.text_encoder, self.text_projection

    def build(self) -> None:
        """Create every variable, under the strategy's scope; a second call changes nothing."""
        batch = self.zeros()
        # A call, because a backbone's output width is known by nothing else.
        width = self.embed_image(batch, training=False).shape[-1]
        self.embed_text(batch, training=False)
        for task in self.tasks:
            task.build(width)
        for layer in self.layers:
            if not layer.built:
                layer.build(None)

    def encode(self, batch: Batch, training: bool) -> Outputs:
        """Embed what the batch holds.

        Returns:
            ``image_embedding`` [B, D] and ``text_embedding`` [B·n, D] of this replica,
            unit-norm float32; the key of an absent modality is absent.
        """
        outputs: Outputs = {}
        if image_input(self.image_encoder) in batch:
            outputs["image_embedding"] = self.embed_image(batch, training)
        if text_input(self.text_encoder) in batch:
            outputs["text_embedding"] = self.embed_text(batch, training)
        return outputs

    def embed_image(self, batch: Batch, training: bool) -> tf.Tensor:
        """Return what the image tower makes of a batch, [B, D]."""
        return encode_images(self.image_layers, batch, training)

    def embed_text(self, batch: Batch, training: bool) -> tf.Tensor:
        """Return what the text tower makes of a batch, [B·n, D]."""
        return encode_texts(self.text_layers, batch, training)

    def encode_image(self, batch: Batch) -> tf.Tensor:
        """Image embeddings, unit-norm float32 [B, D]."""
        return self.embed_image(batch, training=False)

    def encode_text(self, batch: Batch) -> tf.Tensor:
        """Text embeddings, unit-norm float32 [B·n, D]."""
        return self.embed_text(batch, training=False)

    def adapt(self, statistics: Mapping[str, tuple[Any, Any]]) -> None:
        """See `VisionLanguageModel.adapt`."""
        encoders = {"image_features": self.image_encoder, "text_features": self.text_encoder}
        for key, (mean, deviation) in statistics.items():
            encoders[key].adapt(mean, deviation)

    def zeros(self) -> Batch:
        """Return a batch of one row of zeros."""
        size, length = self.config.image_size, self.config.max_length
        batch: dict[str, tf.Tensor] = {}
        if isinstance(self.config.image, FeatureEncoderConfig):
            batch["image_features"] = tf.zeros([1, self.config.image.width])
        else:
            batch["image"] = tf.zeros([1, size, size, 3], tf.uint8)
        if isinstance(self.config.text, FeatureEncoderConfig):
            batch["text_features"] = tf.zeros([1, self.config.text.width])
        else:
            batch["token_ids"] = tf.zeros([1, length], tf.int32)
            batch["text_mask"] = tf.ones([1, length], tf.bool)
        return batch


def pair_embeddings(outputs: Outputs) -> tuple[tf.Tensor, tf.Tensor] | None:
    """Image and text embeddings, or None if the batch holds one modality alone."""
    if not {"image_embedding", "text_embedding"} <= outputs.keys():
        return None
    return outputs["image_embedding"], outputs["text_embedding"]


def _check_complete(config: DualEncoderConfig) -> None:
    """Raise ValueError if the trainer has not set what is the data's."""
    if config.vocabulary_size is None and config.text.kind != "features":
        raise ValueError(
            "`vocabulary_size` must be set to the size of the vocabulary. "
            "Received: vocabulary_size=None"
        )
    for side in (config.image, config.text):
        if isinstance(side, FeatureEncoderConfig) and side.width is None:
            raise ValueError(
                "`width` of an encoder of features must be set to that of the data's features. "
                "Received: width=None"
            )
