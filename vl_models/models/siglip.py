"""SigLIP: every pair of the batch is a binary classification of its own.

Zhai et al., "Sigmoid Loss for Language Image Pre-Training".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import keras
import tensorflow as tf
from pydantic import PositiveFloat

from vl_models.distribution import all_gather, global_mean
from vl_models.layers.bias import Bias
from vl_models.layers.temperature import Temperature
from vl_models.losses.contrastive import PositivesMode, contrastive_logits
from vl_models.losses.positives import PairHashes, known_positives, own_pairs
from vl_models.losses.sigmoid import pairwise_sigmoid_sums
from vl_models.models.base import Batch
from vl_models.models.dual_encoder import DualEncoderConfig, PairDualEncoder


class SigLIPConfig(DualEncoderConfig):
    """Configuration of `SigLIP`.

    Attributes:
      system: "siglip".
      initial_temperature: of the published t' = ln 10.
      maximum_scale: bound of the inverse temperature.
      initial_bias: -10: at the start nearly all pairs are negatives, and known to be.
      positives: what a known click beside the pairs is, see `pairwise_sigmoid_sums`.
      weigh_queries: whether a pair weighs in by its position-debiased clicks.
    """

    system: Literal["siglip"] = "siglip"
    initial_temperature: PositiveFloat = 0.1
    maximum_scale: PositiveFloat = 1000.0
    initial_bias: float = -10.0
    positives: PositivesMode = "uniform"
    weigh_queries: bool = False


class SigLIP(PairDualEncoder):
    """Two towers and the pairwise sigmoid loss of equation 1, per text of the global batch.

    Each replica classifies all images against its own texts: the logits of the whole batch
    are never in one place.
    """

    config: SigLIPConfig

    def __init__(self, config: SigLIPConfig) -> None:
        super().__init__(config)
        self.temperature = Temperature(
            config.initial_temperature,
            maximum_scale=config.maximum_scale,
            dtype="float32",
            name="temperature",
        )
        self.bias = Bias(config.initial_bias, dtype="float32", name="logit_bias")

    @property
    def layers(self) -> Sequence[keras.layers.Layer]:
        """Both towers, the temperature and the bias."""
        return (*super().layers, self.temperature, self.bias)

    def pair_losses(
        self, batch: Batch, image_embedding: tf.Tensor, text_embedding: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """``sigmoid``, the mean over the texts of the global batch."""
        keys = PairHashes.of_batch(batch, image_embedding.shape[0], text_embedding.shape[0])
        everyone = keys.gathered()
        images = all_gather(image_embedding)
        sums = pairwise_sigmoid_sums(
            self.bias(contrastive_logits(images, text_embedding, self.logit_scale())),
            known_positives(everyone, keys),
            own_pairs(everyone, keys),
            mode=self.config.positives,
        )
        weights = batch["query_weight"] if self.config.weigh_queries else None
        return {"sigmoid": global_mean(sums, weights)}

    def after_update(self) -> None:
        """Bring the temperature back between its bounds."""
        self.temperature.clamp()

    def scalars(self) -> dict[str, tf.Tensor]:
        """Temperature and bias of the logits, and what the tasks log."""
        return {
            **super().scalars(),
            "temperature": 1.0 / self.temperature.scale(),
            "logit_bias": self.bias.value(),
        }

    def logit_scale(self) -> tf.Tensor:
        """Factor from cosines to logits, a float32 scalar."""
        return self.temperature.scale()
