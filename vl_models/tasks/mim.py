"""Masked image modelling: the codes of hidden patches, from those that are seen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from vl_models.batch import Batch, Outputs
from vl_models.distribution import global_mean
from vl_models.layers import initializers
from vl_models.layers.prediction_head import PredictionHead
from vl_models.row_random import stream_seed
from vl_models.tasks.base import Task
from vl_models.tasks.fusion_config import MIMConfig
from vl_models.tasks.image_codes import fitting_tokenizer
from vl_models.tasks.masked_blocks import masked_patches

if TYPE_CHECKING:
    from vl_models.models.fusion_config import FusionConfig

_MASK, _PASS = 81, 82


class MaskedPatches(Task):
    """Cross-entropy of the image tokeniser's codes at the masked patches, the mean over them.

    Source: Bao et al., "BEiT: BERT Pre-Training of Image Transformers", section 2.3 and
    algorithm 1.

    Args:
        config: options.
        model: configuration of the system.

    Raises:
        UserError: there is no image tokeniser in that place, or one with another grid.
    """

    config: MIMConfig

    def __init__(self, config: MIMConfig, model: FusionConfig) -> None:
        super().__init__(config)
        self.tokenizer = fitting_tokenizer("mim", config.tokenizer, model)
        options: dict[str, Any] = {"dtype": model.precision, "name": "mim_head"}
        self.head: keras.layers.Layer = (
            PredictionHead(self.tokenizer.codes, **options)
            if config.transform
            else keras.layers.Dense(
                self.tokenizer.codes, kernel_initializer=initializers.normal(0.02), **options
            )
        )

    def forward(self, model: Any, batch: Batch, outputs: Outputs, training: bool) -> Outputs:
        """Read images with hidden patches.

        Returns:
            ``mim_logits`` [B, g², K], ``mim_codes`` int32 [B, g²] and ``mim_mask`` bool [B, g²];
            nothing without images, and of pairs if the task is of images alone.
        """
        if "image" not in batch or ("text_embedded" in outputs and not self.config.on_pairs):
            return {}
        masked = masked_patches(stream_seed(batch["seed"], _MASK), self.config, self.tokenizer.grid)
        codes = self.tokenizer.tokenize(batch["image"])
        codes = tf.reshape(codes, [-1, self.tokenizer.grid**2])
        image = model.embed_image(batch, training, masked=masked)
        seeds = stream_seed(batch["seed"], _PASS) if training else None
        tokens, _ = model.alone(image, "image", seeds, training)
        return {"mim_logits": self.head(tokens[:, 1:]), "mim_codes": codes, "mim_mask": masked}

    def losses(self, batch: Batch, outputs: Outputs) -> dict[str, tf.Tensor]:
        """``mim``; nothing without images."""
        if "mim_logits" not in outputs:
            return {}
        entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(
            outputs["mim_codes"], tf.cast(outputs["mim_logits"], tf.float32)
        )
        mask = tf.cast(outputs["mim_mask"], tf.float32)
        return {"mim": self.config.weight * global_mean(entropy, mask)}
