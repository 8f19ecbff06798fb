"""Dual encoders with a softmax over the global batch: what CLIP, ALIGN and UniCL share."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import tensorflow as tf
from pydantic import Field, PositiveFloat

from vl_models.layers.divisor_temperature import DivisorTemperature
from vl_models.layers.temperature import Temperature
from vl_models.losses.contrastive import PositivesMode
from vl_models.losses.gathered import GatherForm, gathered_contrastive_loss
from vl_models.losses.positives import PairHashes
from vl_models.models.base import Batch
from vl_models.models.dual_encoder import DualEncoderConfig, PairDualEncoder


class ContrastiveConfig(DualEncoderConfig):
    """Options of the softmax over the batch.

    Attributes:
      initial_temperature: CLIP's 0.07.
      maximum_scale: bound of the inverse temperature; CLIP's 100.
      label_smoothing: share of the target spread over the batch; ALIGN's 0.1.
      positives: what a known click beside the pairs is: a target ("uniform"), left out of
        the softmax ("hide") or a negative ("pairs", CLIP).
      gather: how the batch is put together over replicas, see `losses/gathered.py`.
      correct_sampling: the logQ correction where images are the candidates; for sources that
        draw images by their clicks (``image_draw_power``).
      weigh_queries: whether a pair weighs in by its position-debiased clicks.
    """

    initial_temperature: PositiveFloat = 0.07
    maximum_scale: PositiveFloat = 100.0
    label_smoothing: float = Field(default=0.0, ge=0.0, lt=1.0)
    positives: PositivesMode = "uniform"
    gather: GatherForm = "global"
    correct_sampling: bool = False
    weigh_queries: bool = False


class ContrastiveDualEncoder(PairDualEncoder):
    """Two towers, one cosine, a symmetric contrastive loss on the global batch.

    Attributes:
      LABELS_MATCH: whether rows of the same label are positives of each other.
    """

    config: ContrastiveConfig
    LABELS_MATCH = False

    def __init__(self, config: ContrastiveConfig) -> None:
        super().__init__(config)
        self.temperature = self._make_temperature(config)

    @property
    def layers(self) -> Sequence[keras.layers.Layer]:
        """Both towers and the temperature."""
        return (*super().layers, self.temperature)

    def pair_losses(
        self, batch: Batch, image_embedding: tf.Tensor, text_embedding: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """``contrastive``, the mean of both directions."""
        config = self.config
        rows, texts = image_embedding.shape[0], text_embedding.shape[0]
        loss = gathered_contrastive_loss(
            image_embedding,
            text_embedding,
            self.temperature.scale(),
            PairHashes.of_batch(batch, rows, texts, use_labels=self.LABELS_MATCH),
            form=config.gather,
            mode=config.positives,
            label_smoothing=config.label_smoothing,
            weights=batch["query_weight"] if config.weigh_queries else None,
            image_log_q=batch["image_log_q"] if config.correct_sampling else None,
        )
        return {"contrastive": loss}

    def after_update(self) -> None:
        """Bring the temperature back between its bounds."""
        self.temperature.clamp()

    def scalars(self) -> dict[str, tf.Tensor]:
        """The temperature 1 / scale, and what the tasks log."""
        return {**super().scalars(), "temperature": 1.0 / self.temperature.scale()}

    def _make_temperature(self, config: ContrastiveConfig) -> Temperature | DivisorTemperature:
        return Temperature(
            config.initial_temperature,
            maximum_scale=config.maximum_scale,
            dtype="float32",
            name="temperature",
        )

    def logit_scale(self) -> tf.Tensor:
        """Factor from cosines to logits, a float32 scalar."""
        return self.temperature.scale()
