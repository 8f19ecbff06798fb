"""What the dual encoders have in common: two towers and one unit sphere."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
from pydantic import PositiveInt

from vl_models.encoders.factory import (
    AnyTextConfig,
    ImageEncoderConfig,
    TextEncoderConfig,
    TextTransformerConfig,
    ViTConfig,
    build_image_encoder,
    build_text_encoder,
)
from vl_models.layers.projection import Projection
from vl_models.models.base import Batch, ModelConfig, Outputs, VisionLanguageModel


class DualEncoderConfig(ModelConfig):
    """Configuration of a dual encoder, beside what all systems have.

    Attributes:
      embedding_dim: D, the width of the shared space.
      image: the image encoder.
      text: the text encoder.
    """

    embedding_dim: PositiveInt = 128
    image: ImageEncoderConfig = ViTConfig(kind="vit")
    text: TextEncoderConfig = TextTransformerConfig(kind="transformer")


class DualEncoder(VisionLanguageModel):
    """Image tower, text tower, projections to unit-norm embeddings; the loss is the system's.

    A batch with one modality alone is encoded as far as it goes, and has no loss.

    Args:
      config: sizes and options; ``vocabulary_size`` must be set.

    Raises:
      ValueError: if ``config.vocabulary_size`` is None.
    """

    def __init__(self, config: DualEncoderConfig) -> None:
        if config.vocabulary_size is None:
            raise ValueError(
                "`vocabulary_size` must be set to the size of the vocabulary. "
                "Received: vocabulary_size=None"
            )
        self.config = config
        self.image_encoder = build_image_encoder(config.image, "image_encoder", config.precision)
        self.image_projection = self._projection("image_projection")
        self.text_encoder = self._make_text_encoder(config.text, config.vocabulary_size)
        self.text_projection = self._projection("text_projection")
        self._built = False

    @property
    def layers(self) -> Sequence[keras.layers.Layer]:
        """Both towers; systems add theirs behind."""
        return (
            self.image_encoder,
            self.image_projection,
            self.text_encoder,
            self.text_projection,
        )

    def build(self) -> None:
        """Create every variable; a second call changes nothing."""
        if self._built:
            return
        size, length = self.config.image_size, self.config.max_length
        # Calls, because a backbone's output width is known by nothing else; one row each.
        self.encode_image({"image": tf.zeros([1, size, size, 3], tf.uint8)})
        self.encode_text(
            {
                "token_ids": tf.zeros([1, length], tf.int32),
                "text_mask": tf.ones([1, length], tf.bool),
            }
        )
        for layer in self.layers:
            if not layer.built:
                layer.build(None)
        self._built = True

    def forward(self, batch: Batch, training: bool) -> Outputs:
        """Embed what the batch holds.

        Returns:
          ``image_embedding`` [B, D] and ``text_embedding`` [B·n, D] of this replica,
          unit-norm float32; the key of an absent modality is absent.
        """
        outputs: Outputs = {}
        if "image" in batch:
            outputs["image_embedding"] = self._embed_image(batch, training)
        if "token_ids" in batch:
            outputs["text_embedding"] = self._embed_text(batch, training)
        return outputs

    def encode_image(self, batch: Batch) -> tf.Tensor:
        """Image embeddings, unit-norm float32 [B, D]."""
        return self._embed_image(batch, training=False)

    def encode_text(self, batch: Batch) -> tf.Tensor:
        """Text embeddings, unit-norm float32 [B·n, D]."""
        return self._embed_text(batch, training=False)

    def get_config(self) -> dict[str, Any]:
        """The configuration as plain values."""
        return self.config.model_dump(mode="json")

    def _make_text_encoder(self, config: AnyTextConfig, vocabulary_size: int) -> keras.layers.Layer:
        return build_text_encoder(config, vocabulary_size, "text_encoder", self.config.precision)

    def _projection(self, name: str) -> keras.layers.Layer:
        return Projection(self.config.embedding_dim, dtype=self.config.precision, name=name)

    def _embed_image(self, batch: Batch, training: bool) -> tf.Tensor:
        encoded = self.image_encoder(batch["image"], training=training)
        return self.image_projection(encoded["pooled"])

    def _embed_text(self, batch: Batch, training: bool) -> tf.Tensor:
        encoded = self.text_encoder(batch["token_ids"], batch["text_mask"], training=training)
        return self.text_projection(encoded["pooled"])


class PairDualEncoder(DualEncoder):
    """A dual encoder whose loss depends on the embeddings of the batch's pairs alone."""

    def losses(self, batch: Batch, outputs: Outputs) -> dict[str, tf.Tensor]:
        """The losses of the global batch; nothing if a modality is absent."""
        if not {"image_embedding", "text_embedding"} <= outputs.keys():
            return {}
        return self.pair_losses(batch, outputs["image_embedding"], outputs["text_embedding"])

    @abc.abstractmethod
    def pair_losses(
        self, batch: Batch, image_embedding: tf.Tensor, text_embedding: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """Named float32 scalars of the global batch, equal on every replica.

        Args:
          batch: of this replica.
          image_embedding: unit-norm [B, D] of this replica.
          text_embedding: unit-norm [B·n, D] of this replica.
        """
