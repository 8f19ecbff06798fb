"""CLIP: two towers, one cosine, a symmetric contrastive loss on the global batch.

Radford et al., "Learning Transferable Visual Models From Natural Language Supervision".
With `label_smoothing` 0.1 and a text tower of BERT's kind it is ALIGN (Jia et al., "Scaling
Up Visual and Vision-Language Representation Learning With Noisy Text Supervision").
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import keras
import tensorflow as tf
from pydantic import Field, PositiveFloat, PositiveInt

from vl_models.distribution import all_gather
from vl_models.encoders.factory import (
    ImageEncoderConfig,
    TextEncoderConfig,
    TextTransformerConfig,
    ViTConfig,
    build_image_encoder,
    build_text_encoder,
)
from vl_models.layers.projection import Projection
from vl_models.layers.temperature import Temperature
from vl_models.losses.contrastive import (
    PositivesMode,
    contrastive_logits,
    positive_targets,
    symmetric_contrastive_loss,
)
from vl_models.models.base import Batch, ModelConfig, Outputs, VisionLanguageModel


class CLIPConfig(ModelConfig):
    """Configuration of `CLIP`, beside what all systems have.

    Attributes:
      system: "clip".
      embedding_dim: D, the width of the shared space.
      image: the image encoder.
      text: the text encoder.
      initial_temperature: CLIP's 0.07.
      maximum_scale: bound of the inverse temperature; CLIP's 100.
      label_smoothing: share of the target spread over the batch; ALIGN's 0.1.
      positives: what a known click beside the pairs is: a target ("uniform"), left out of
        the softmax ("hide") or a negative ("pairs", CLIP).
      correct_sampling: the logQ correction where images are the candidates; for data whose
        rows repeat images by their clicks. ClickExampleGen writes every image once: False.
      weigh_queries: whether a pair weighs in by its position-debiased clicks.
    """

    system: Literal["clip"] = "clip"
    embedding_dim: PositiveInt = 128
    image: ImageEncoderConfig = ViTConfig(kind="vit")
    text: TextEncoderConfig = TextTransformerConfig(kind="transformer")
    initial_temperature: PositiveFloat = 0.07
    maximum_scale: PositiveFloat = 100.0
    label_smoothing: float = Field(default=0.0, ge=0.0, lt=1.0)
    positives: PositivesMode = "uniform"
    correct_sampling: bool = False
    weigh_queries: bool = False


class CLIP(VisionLanguageModel):
    """Dual encoder: image tower, text tower, projections to unit-norm embeddings.

    A batch with one modality alone is encoded as far as it goes, and has no loss.

    Args:
      config: sizes and options; ``vocabulary_size`` must be set.

    Raises:
      ValueError: if ``config.vocabulary_size`` is None.
    """

    def __init__(self, config: CLIPConfig) -> None:
        if config.vocabulary_size is None:
            raise ValueError(
                "`vocabulary_size` must be set to the size of the vocabulary. "
                "Received: vocabulary_size=None"
            )
        self.config = config
        dtype = config.precision
        self.image_encoder = build_image_encoder(config.image, "image_encoder", dtype)
        self.image_projection = Projection(
            config.embedding_dim, dtype=dtype, name="image_projection"
        )
        self.text_encoder = build_text_encoder(
            config.text, config.vocabulary_size, "text_encoder", dtype
        )
        self.text_projection = Projection(config.embedding_dim, dtype=dtype, name="text_projection")
        self.temperature = Temperature(
            config.initial_temperature,
            maximum_scale=config.maximum_scale,
            dtype="float32",
            name="temperature",
        )

    @property
    def layers(self) -> Sequence[keras.layers.Layer]:
        """Both towers and the temperature."""
        return (
            self.image_encoder,
            self.image_projection,
            self.text_encoder,
            self.text_projection,
            self.temperature,
        )

    def build(self) -> None:
        """Create every variable; a second call changes nothing."""
        if self.temperature.built:
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
        self.temperature.build()

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

    def losses(self, batch: Batch, outputs: Outputs) -> dict[str, tf.Tensor]:
        """The contrastive loss of the global batch; nothing if a modality is absent."""
        if not {"image_embedding", "text_embedding"} <= outputs.keys():
            return {}
        config = self.config
        logits = contrastive_logits(
            all_gather(outputs["image_embedding"]),
            all_gather(outputs["text_embedding"]),
            self.temperature.scale(),
        )
        loss = symmetric_contrastive_loss(
            logits,
            self._positives(batch),
            mode=config.positives,
            weights=all_gather(batch["query_weight"]) if config.weigh_queries else None,
            label_smoothing=config.label_smoothing,
            image_log_q=all_gather(batch["image_log_q"]) if config.correct_sampling else None,
        )
        return {"contrastive": loss}

    def after_update(self) -> None:
        """Bring the temperature back between its bounds."""
        self.temperature.clamp()

    def scalars(self) -> dict[str, tf.Tensor]:
        """The temperature 1 / scale."""
        return {"temperature": 1.0 / self.temperature.scale()}

    def encode_image(self, batch: Batch) -> tf.Tensor:
        """Image embeddings, unit-norm float32 [B, D]."""
        return self._embed_image(batch, training=False)

    def encode_text(self, batch: Batch) -> tf.Tensor:
        """Text embeddings, unit-norm float32 [B·n, D]."""
        return self._embed_text(batch, training=False)

    def get_config(self) -> dict[str, Any]:
        """The configuration as plain values."""
        return self.config.model_dump(mode="json")

    def _embed_image(self, batch: Batch, training: bool) -> tf.Tensor:
        encoded = self.image_encoder(batch["image"], training=training)
        return self.image_projection(encoded["pooled"])

    def _embed_text(self, batch: Batch, training: bool) -> tf.Tensor:
        encoded = self.text_encoder(batch["token_ids"], batch["text_mask"], training=training)
        return self.text_projection(encoded["pooled"])

    def _positives(self, batch: Batch) -> tf.Tensor | None:
        """Known positives of the global batch; None where no keys tell more than the pairs."""
        if self.config.positives == "pairs" or "image_key" not in batch:
            return None
        clicked = batch.get("clicked_query_keys")
        if clicked is not None:
            # A gather forgets the number of columns.
            clicked = tf.ensure_shape(all_gather(clicked), [None, clicked.shape[1]])
        return positive_targets(
            all_gather(batch["image_key"]), all_gather(batch["query_key"]), clicked
        )
