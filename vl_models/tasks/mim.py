"""Masked image modelling: the codes of hidden patches, from those that are seen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from vl_models.batch import Batch, Outputs
from vl_models.distribution import global_mean
from vl_models.errors import UserError
from vl_models.layers import initializers
from vl_models.row_random import stream_seed
from vl_models.tasks.base import Task
from vl_models.tasks.fusion_config import MIMConfig
from vl_models.tasks.image_codes import load_image_tokenizer
from vl_models.tasks.masked_blocks import block_mask

if TYPE_CHECKING:
    from vl_models.models.fusion_config import FusionConfig

_MASK, _PASS = 81, 82
# BEiT's numbers, of a grid of 14 x 14.
_MASKED, _SMALLEST, _PATCHES = 75, 16, 196


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
        self.tokenizer = load_image_tokenizer(config.tokenizer)
        if self.tokenizer.grid != model.grid:
            raise UserError(
                f"model.tasks: mim: the image tokeniser in {config.tokenizer} makes "
                f"{self.tokenizer.grid} × {self.tokenizer.grid} codes of an image, the model reads "
                f"{model.grid} × {model.grid} patches. Train a tokeniser with another stride, or "
                "change patch_size."
            )
        self.head = keras.layers.Dense(
            self.tokenizer.codes,
            kernel_initializer=initializers.normal(0.02),
            dtype=model.precision,
            name="mim_head",
        )

    def forward(self, model: Any, batch: Batch, outputs: Outputs, training: bool) -> Outputs:
        """Read images with hidden patches.

        Returns:
            ``mim_logits`` [B, g², K], ``mim_codes`` int32 [B, g²] and ``mim_mask`` bool [B, g²];
            nothing without images.
        """
        if "image" not in batch:
            return {}
        grid = self.tokenizer.grid
        patches = grid * grid
        masked = block_mask(
            stream_seed(batch["seed"], _MASK),
            (grid, grid),
            target=self.config.masked or max(1, round(_MASKED / _PATCHES * patches)),
            minimum=self.config.smallest_block or max(1, round(_SMALLEST / _PATCHES * patches)),
            aspect=self.config.aspect,
        )
        codes = tf.reshape(self.tokenizer.tokenize(batch["image"]), [-1, patches])
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
