"""SigLIP: every pair of the batch is a binary classification of its own.

Zhai et al., "Sigmoid Loss for Language Image Pre-Training".
"""

from __future__ import annotations

import tensorflow as tf

from vl_models.batch import Batch, Outputs
from vl_models.distribution import all_gather, global_mean
from vl_models.layers.bias import Bias
from vl_models.layers.temperature import Temperature
from vl_models.losses.collapsed import with_mean_embeddings
from vl_models.losses.contrastive import contrastive_logits
from vl_models.losses.positives import PairHashes, own_pairs, positives_of
from vl_models.losses.sigmoid import pairwise_sigmoid_sums
from vl_models.models.dual_encoder import DualEncoder, pair_embeddings
from vl_models.models.siglip_config import PUBLISHED_BIAS, SigLIPConfig


class SigLIP(DualEncoder):
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
        bias = PUBLISHED_BIAS if config.initial_bias is None else config.initial_bias
        self.bias = Bias(bias, dtype="float32", name="logit_bias")

    def own_losses(self, batch: Batch, outputs: Outputs) -> dict[str, tf.Tensor]:
        """``sigmoid``, the mean over the texts of the global batch; nothing without pairs."""
        pairs = pair_embeddings(outputs)
        if pairs is None:
            return {}
        image_embedding, text_embedding = pairs
        own = PairHashes.of_batch(batch, image_embedding.shape[0], text_embedding.shape[0])
        everyone = own.gathered()
        images = all_gather(image_embedding)
        sums = pairwise_sigmoid_sums(
            self.bias(contrastive_logits(images, text_embedding, self.logit_scale())),
            positives_of(self.config.positives)(everyone, own),
            own_pairs(everyone, own),
            mode=self.config.positives,
        )
        weights = batch["query_weight"] if self.config.weigh_queries else None
        return {"sigmoid": global_mean(sums, weights)}

    def own_collapsed_losses(self, batch: Batch, outputs: Outputs) -> dict[str, tf.Tensor]:
        """All logits are scale · mean image · mean text + bias, as these are now."""
        return self.own_losses(batch, with_mean_embeddings(outputs))

    def after_update(self) -> None:
        """Bring the temperature back between its bounds."""
        super().after_update()
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
