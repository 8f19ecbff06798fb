"""CLIP: two towers, one cosine, a symmetric contrastive loss on the global batch.

Radford et al., "Learning Transferable Visual Models From Natural Language Supervision".
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from vl_models.batch import Batch, Outputs
from vl_models.layers.temperature import Temperature
from vl_models.losses.collapsed import with_equal_logits
from vl_models.losses.gathered import gathered_contrastive_loss
from vl_models.losses.positives import PairHashes
from vl_models.models.clip_config import ContrastiveConfig
from vl_models.models.dual_encoder import DualEncoder, pair_embeddings


class CLIP(DualEncoder):
    """The loss of section 2.3: mean of the cross-entropies of images over texts and back.

    Args:
        config: sizes and options.
        temperature: between cosines and logits; `Temperature` by default.
        towers: further arguments of `DualEncoder`.
    """

    config: ContrastiveConfig

    def __init__(
        self,
        config: ContrastiveConfig,
        *,
        temperature: keras.layers.Layer | None = None,
        **towers: Any,
    ) -> None:
        super().__init__(config, **towers)
        self.temperature = temperature or Temperature(
            config.initial_temperature,
            maximum_scale=config.maximum_scale,
            dtype="float32",
            name="temperature",
        )

    def own_losses(self, batch: Batch, outputs: Outputs) -> dict[str, tf.Tensor]:
        """``contrastive``, the mean of both directions; nothing if a modality is absent."""
        pairs = pair_embeddings(outputs)
        if pairs is None:
            return {}
        config, (images, texts) = self.config, pairs
        loss = gathered_contrastive_loss(
            images,
            texts,
            self.logit_scale(),
            PairHashes.of_batch(
                batch, images.shape[0], texts.shape[0], use_labels=config.labels_match
            ),
            form=config.gather,
            mode=config.positives,
            label_smoothing=config.label_smoothing,
            weights=batch["query_weight"] if config.weigh_queries else None,
            image_log_q=batch["image_log_q"] if config.correct_sampling else None,
        )
        return {"contrastive": loss}

    def own_collapsed_losses(self, batch: Batch, outputs: Outputs) -> dict[str, tf.Tensor]:
        """Return ln(candidates), the mean of both directions."""
        return self.own_losses(batch, with_equal_logits(outputs))

    def after_update(self) -> None:
        """Bring the temperature back between its bounds."""
        super().after_update()
        self.temperature.clamp()

    def scalars(self) -> dict[str, tf.Tensor]:
        """Return the temperature 1 / scale, and what the tasks log."""
        return {**super().scalars(), "temperature": 1.0 / self.logit_scale()}

    def logit_scale(self) -> tf.Tensor:
        """Factor from cosines to logits, a float32 scalar."""
        return self.temperature.scale()
