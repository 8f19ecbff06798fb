"""Masked language modelling, of texts alone or with the image in view."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from vl_models.batch import Batch, Outputs
from vl_models.distribution import global_mean
from vl_models.encoders.towers import text_seeds
from vl_models.errors import UserError
from vl_models.fusion.embedded import embedded_image, first_texts, pair_seeds
from vl_models.layers import initializers
from vl_models.layers.gelu import exact_gelu
from vl_models.layers.layer_norm import LayerNorm
from vl_models.row_random import stream_seed
from vl_models.tasks.base import Task
from vl_models.tasks.fusion_config import CONTINUATION, MLMConfig
from vl_models.tasks.masked_words import mask_words
from vl_models.tasks.wpa import inner_tokens

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
        if model.mask_id is None:
            raise UserError(
                "model.tasks: mlm needs a vocabulary with a mask token, such as WordPiece's "
                "[MASK]; this one has none. Take mlm out, or set vocabulary.kind: wordpiece."
            )
        assert model.vocabulary_size is not None
        self.mask_id = model.mask_id
        self.candidates = np.arange(model.vocabulary_size)
        precision = model.precision
        small = initializers.normal(0.02)
        self.transform = keras.layers.Dense(
            model.width,
            activation=exact_gelu,
            kernel_initializer=small,
            dtype=precision,
            name="mlm_transform",
        )
        self.norm = LayerNorm(1e-12, dtype=precision, name="mlm_norm")
        self.decoder = keras.layers.Dense(
            model.vocabulary_size,
            kernel_initializer=initializers.fresh(small),
            dtype=precision,
            name="mlm_decoder",
        )

    def forward(self, model: Any, batch: Batch, outputs: Outputs, training: bool) -> Outputs:
        """Read texts with hidden words.

        Returns:
            ``mlm_logits`` [M, V] of the M hidden tokens, and ``mlm_targets`` int32 [M]; nothing
            without texts.
        """
        if "text_embedded" not in outputs:
            return {}
        texts = self._texts(batch, outputs)
        token_ids, chosen = mask_words(
            texts["token_ids"],
            texts["text_mask"],
            texts[CONTINUATION],
            inner_tokens(texts["text_mask"]),
            stream_seed(text_seeds(texts, texts["token_ids"].shape[0]), _MASK),
            mask_id=self.mask_id,
            candidates=self.candidates,
            rate=self.config.rate,
            whole_words=self.config.whole_words,
        )
        text = model.embed_text(texts, token_ids, training)
        if "image_embedded" in outputs:
            seeds = pair_seeds(batch, _PASS) if training else None
            tokens = model.fuse(text, embedded_image(outputs), seeds, training).text.values
        else:
            seeds = text_seeds(batch, token_ids.shape[0], _PASS) if training else None
            tokens, _ = model.alone(text, "text", seeds, training)
        return {
            "mlm_logits": self.predict(tf.boolean_mask(tokens, chosen)),
            "mlm_targets": tf.boolean_mask(texts["token_ids"], chosen),
        }

    def predict(self, tokens: tf.Tensor) -> tf.Tensor:
        """Logits [..., V] of tokens [..., W]."""
        return self.decoder(self.norm(self.transform(tokens)))

    def losses(self, batch: Batch, outputs: Outputs) -> dict[str, tf.Tensor]:
        """``mlm``; nothing without texts."""
        if "mlm_logits" not in outputs:
            return {}
        entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(
            outputs["mlm_targets"], tf.cast(outputs["mlm_logits"], tf.float32)
        )
        return {"mlm": self.config.weight * global_mean(entropy)}

    def build(self, width: int) -> None:
        """Create the head; the decoder is not tied to the embedding, as published."""
        for layer in (self.transform, self.norm, self.decoder):
            layer.build((None, width))

    def _texts(self, batch: Batch, outputs: Outputs) -> Batch:
        """The texts that are read: of pairs the first of each image, else all."""
        keys = ("token_ids", "text_mask", CONTINUATION)
        found = {key: batch[key] for key in keys}
        if "image_embedded" in outputs:
            rows = batch["image"].shape[0]
            found = {key: first_texts(value, rows) for key, value in found.items()}
        return {**found, "seed": batch["seed"]} if "seed" in batch else found
