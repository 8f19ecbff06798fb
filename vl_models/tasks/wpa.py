"""Word-patch alignment: the words of a pair are near its patches, as a whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

import tensorflow as tf

from vl_models.batch import Batch, Outputs
from vl_models.distribution import global_mean
from vl_models.losses.optimal_transport import transport_distance
from vl_models.tasks.base import Task
from vl_models.tasks.fusion_config import WPAConfig

if TYPE_CHECKING:
    from vl_models.models.fusion_config import FusionConfig


class WordPatchAlignment(Task):
    """Transport distance of words and patches: of pairs down, of what matching put together up.

    Of the pass that the task of matching made. The class tokens and the text's last token are left
    out, and so is all padding. The loss may be negative.
    Source: Kim et al., "ViLT", section 3.2, after Chen et al., "UNITER: UNiversal Image-TExt
    Representation Learning", section 3.2 (optimal transport).

    Args:
        config: options.
        model: configuration of the system.
    """

    config: WPAConfig

    def __init__(self, config: WPAConfig, model: FusionConfig) -> None:
        super().__init__(config)

    def losses(self, batch: Batch, outputs: Outputs) -> dict[str, tf.Tensor]:
        """``wpa``; nothing if a modality is absent."""
        if "itm_text_tokens" not in outputs:
            return {}
        image_mask = outputs["itm_image_mask"]
        distance = transport_distance(
            outputs["itm_text_tokens"],
            outputs["itm_image_tokens"],
            inner_tokens(outputs["itm_text_mask"]),
            tf.concat([tf.zeros_like(image_mask[:, :1]), image_mask[:, 1:]], axis=1),
            beta=self.config.beta,
            iterations=self.config.iterations,
        )
        signed = distance * (2.0 * outputs["itm_labels"] - 1.0)
        return {"wpa": self.config.weight * global_mean(signed, outputs["itm_weights"])}


def inner_tokens(text_mask: tf.Tensor) -> tf.Tensor:
    """Mask of a text's tokens without its first and its last: bool [B, L]."""
    mask = tf.cast(text_mask, tf.bool)
    after = tf.concat([mask[:, 1:], tf.zeros_like(mask[:, :1])], axis=1)
    first = tf.range(mask.shape[1]) == 0
    return mask & after & ~first
