"""Contrast of words and patches before they are fused: what word grounding attends by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tensorflow as tf

from vl_models.batch import Batch, Outputs
from vl_models.fusion.embedded import has_pairs
from vl_models.layers.masked_mean import masked_mean
from vl_models.layers.temperature import Temperature
from vl_models.losses.gathered import gathered_contrastive_loss
from vl_models.losses.positives import PairHashes
from vl_models.tasks.base import Task
from vl_models.tasks.fusion_config import GroundingConfig

if TYPE_CHECKING:
    from vl_models.layers.word_grounding import WordGrounding
    from vl_models.models.fusion_config import FusionConfig


class Grounding(Task):
    """Symmetric contrastive loss of the means of words and patches, as they are embedded.

    The model's `WordGrounding` projects them, and gives words their patches wherever pairs are
    fused.
    Source: Li et al., "Align before Fuse: Vision and Language Representation Learning with
    Momentum Distillation", section 3.2, here of single tokens' means.

    Args:
        config: options.
        model: configuration of the system.
    """

    config: GroundingConfig

    def __init__(self, config: GroundingConfig, model: FusionConfig) -> None:
        super().__init__(config)
        self.temperature = Temperature(dtype="float32", name="grounding_temperature")

    def forward(self, model: Any, batch: Batch, outputs: Outputs, training: bool) -> Outputs:
        """Embed the means.

        Returns:
            ``patches_embedding`` [B, D] and ``words_embedding`` [B·n, D], unit-norm float32;
            nothing if a modality is absent.
        """
        if not has_pairs(outputs):
            return {}
        layer: WordGrounding = model.grounding
        words = masked_mean(outputs["text_embedded"], outputs["text_embedded_mask"])
        patches = tf.reduce_mean(outputs["image_embedded"][:, model.FIRST_PATCH :], axis=1)
        return {"words_embedding": layer.words(words), "patches_embedding": layer.patches(patches)}

    def losses(self, batch: Batch, outputs: Outputs) -> dict[str, tf.Tensor]:
        """``grounding``; nothing if a modality is absent."""
        if "words_embedding" not in outputs:
            return {}
        words, patches = outputs["words_embedding"], outputs["patches_embedding"]
        loss = gathered_contrastive_loss(
            patches,
            words,
            self.temperature.scale(),
            PairHashes.of_batch(batch, patches.shape[0], words.shape[0]),
            mode=self.config.positives,
        )
        return {"grounding": self.config.weight * loss}

    def after_update(self) -> None:
        """Bring the temperature back between its bounds."""
        self.temperature.clamp()
