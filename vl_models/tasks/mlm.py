"""Masked language modelling, of texts alone or with the image in view."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tensorflow as tf

from vl_models.batch import Batch, Outputs
from vl_models.distribution import global_mean
from vl_models.encoders.towers import text_seeds
from vl_models.fusion.embedded import embedded_image, first_texts, pair_seeds
from vl_models.layers.prediction_head import PredictionHead
from vl_models.row_random import stream_seed
from vl_models.tasks.base import Task
from vl_models.tasks.fusion_config import CONTINUATION, MLMConfig
from vl_models.tasks.masked_words import hide_words, mask_token

if TYPE_CHECKING:
    from vl_models.models.fusion_config import FusionConfig

_MASK, _PASS = 71, 7


class MaskedWords(Task):
    """Cross-entropy of the hidden words over the vocabulary, the mean over all of them.

    Sources: Devlin et al., "BERT", section 3.1 (15 %, of which 80 % become the mask token, 10 %
    another, 10 % stay); whole words and the image in view as in Kim et al., "ViLT", section 3.2.

    Args:
        config: options.
        model: configuration of the system.

    Raises:
        UserError: the vocabulary has no mask token.
    """

    config: MLMConfig

    def __init__(self, config: MLMConfig, model: FusionConfig) -> None:
        super().__init__(config)
        assert model.vocabulary_size is not None
        self.mask_id = mask_token(config.kind, model)
        self.vocabulary = model.vocabulary_size
        self.head = PredictionHead(model.vocabulary_size, dtype=model.precision, name="mlm_head")

    def forward(self, model: Any, batch: Batch, outputs: Outputs, training: bool) -> Outputs:
        """Read texts with hidden words.

        Returns:
            ``mlm_logits`` [M, V] of the M hidden tokens, and ``mlm_targets`` int32 [M]; nothing
            without texts, and of pairs if the task is of texts alone.
        """
        if "text_embedded" not in outputs:
            return {}
        if "image_embedded" in outputs and not self.config.on_pairs:
            return {}
        texts = self._texts(batch, outputs)
        seeds = stream_seed(text_seeds(texts, texts["token_ids"].shape[0]), _MASK)
        token_ids, chosen = hide_words(texts, seeds, self.config, self.mask_id, self.vocabulary)
        text = model.embed_text(texts, token_ids, training)
        if "image_embedded" in outputs:
            seeds = pair_seeds(batch, _PASS) if training else None
            tokens = model.fuse(text, embedded_image(outputs), seeds, training).text.values
        else:
            seeds = text_seeds(batch, token_ids.shape[0], _PASS) if training else None
            tokens, _ = model.alone(text, "text", seeds, training)
        return {
            "mlm_logits": self.head(tf.boolean_mask(tokens, chosen)),
            "mlm_targets": tf.boolean_mask(texts["token_ids"], chosen),
        }

    def losses(self, batch: Batch, outputs: Outputs) -> dict[str, tf.Tensor]:
        """``mlm``; nothing without texts."""
        if "mlm_logits" not in outputs:
            return {}
        entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(
            outputs["mlm_targets"], tf.cast(outputs["mlm_logits"], tf.float32)
        )
        return {"mlm": self.config.weight * global_mean(entropy)}

    def _texts(self, batch: Batch, outputs: Outputs) -> Batch:
        """The texts that are read: of pairs the first of each image, else all."""
        keys = ("token_ids", "text_mask", CONTINUATION)
        found = {key: batch[key] for key in keys}
        if "image_embedded" in outputs:
            rows = batch["image"].shape[0]
            found = {key: first_texts(value, rows) for key, value in found.items()}
        return {**found, "seed": batch["seed"]} if "seed" in batch else found
