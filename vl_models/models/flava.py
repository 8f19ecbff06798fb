"""FLAVA: an encoder for images, one for texts, and one for both on top.

Singh et al., "FLAVA: A Foundational Language And Vision Alignment Model".
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from vl_models.batch import Batch, Outputs
from vl_models.distribution import all_gather
from vl_models.fusion.embedded import embedded_image, first_texts, pair_seeds
from vl_models.fusion.multimodal_encoder import MultimodalEncoder
from vl_models.fusion.sequence_encoder import SequenceEncoder
from vl_models.fusion.tokens import Fused, Tokens
from vl_models.layers.masked_mean import masked_mean
from vl_models.layers.relative_position_bias import Modality
from vl_models.losses.negatives import draw_negatives
from vl_models.models.flava_config import FLAVAConfig
from vl_models.models.fusion_model import FusionModel
from vl_models.row_random import draw_uniform, stream_seed
from vl_models.tasks.fusion_config import CONTINUATION, ITMConfig, MMMConfig
from vl_models.tasks.itm import negative_logits
from vl_models.tasks.masked_blocks import masked_patches
from vl_models.tasks.masked_words import hide_words, mask_token
from vl_models.tasks.matching import Mismatches
from vl_models.tasks.shared_pass import positive_rows

_PASS = 11
_REPLACED, _NEGATIVE, _WORDS, _PATCHES = 111, 112, 113, 114
_IMAGE_ENCODER, _TEXT_ENCODER = 1, 2


class FLAVA(FusionModel):
    """A dual encoder by its two encoders, a fusion encoder by the third.

    What a batch is made of decides what is learnt of it: images alone (mim), texts alone (mlm), or
    pairs (itc, mmm, itm).

    Args:
        config: sizes and tasks; ``vocabulary_size`` must be set.

    Raises:
        ValueError: a size that is the data's is None.
    """

    config: FLAVAConfig

    def __init__(self, config: FLAVAConfig) -> None:
        super().__init__(
            config,
            absolute_positions=True,
            mask_token=any(task.kind in ("mim", "mmm") for task in config.tasks),
            modality_types=False,
        )
        options: dict[str, Any] = {
            "dropout": config.dropout,
            "drop_path": config.drop_path,
            "epsilon": config.epsilon,
            "initializer_range": config.initializer_range,
            "dtype": config.precision,
        }
        sizes = (config.heads, config.mlp_ratio)
        self.image_blocks = SequenceEncoder(
            config.width, config.depth, *sizes, **options, name="image_blocks"
        )
        self.text_blocks = SequenceEncoder(
            config.width, config.depth, *sizes, **options, name="text_blocks"
        )
        self.encoder = MultimodalEncoder(
            config.width,
            config.multimodal_depth,
            *sizes,
            **options,
            sees_padding=config.sees_padding,
            name="encoder",
        )
        self.add_tasks()

    def encode_pairs(
        self, text: Tokens, image: Tokens, seeds: tf.Tensor | None, training: bool
    ) -> Fused:
        """See `FusionModel`; the joint encoder reads what both encoders give before their norms."""

        def own(stream: int) -> tf.Tensor | None:
            return None if seeds is None else stream_seed(seeds, stream)

        words = self.text_blocks(text, seeds=own(_TEXT_ENCODER), training=training)["hidden"]
        patches = self.image_blocks(image, seeds=own(_IMAGE_ENCODER), training=training)["hidden"]
        return self.encoder(
            Tokens(words, text.mask),
            Tokens(patches, image.mask),
            seeds=seeds,
            training=training,
        )

    def alone(
        self,
        tokens: Tokens,
        modality: Modality,
        seeds: tf.Tensor | None = None,
        training: bool = False,
        *,
        branches: bool = False,
    ) -> tuple[tf.Tensor, tf.Tensor | None]:
        """See `FusionModel`; all are after the last norm."""
        encoder = self.image_blocks if modality == "image" else self.text_blocks
        return encoder(tokens, seeds=seeds, training=training)["tokens"], None

    def pool_alone(self, values: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        """See `FusionModel`."""
        return masked_mean(values, mask) if self.config.pooling == "mean" else values[:, 0]

    def pretraining_pass(self, batch: Batch, outputs: Outputs, training: bool) -> Outputs:
        """See `SharesPass`: each image with its text or, now and then, with another one.

        Also ``itm_texts`` and ``itm_images`` int32 [B], their places in the global batch.
        """
        rows, config = embedded_image(outputs).values.shape[0], self.config
        matching, masking = config.task("itm"), config.task("mmm")
        mismatches = Mismatches.of_batch(batch, rows, getattr(matching, "exclude_known", True))
        chosen, labels = self._texts(batch, outputs, mismatches)
        texts = {
            key: tf.gather(all_gather(first_texts(batch[key], rows)), chosen)
            for key in ("token_ids", "text_mask", CONTINUATION)
            if key in batch
        }
        texts["seed"] = pair_seeds(batch, _PASS)
        token_ids, masked = texts["token_ids"], None
        words = tf.zeros_like(texts["text_mask"])
        if isinstance(masking, MMMConfig):
            token_ids, words = hide_words(
                texts,
                stream_seed(batch["seed"], _WORDS),
                masking,
                mask_token("mmm", config),
                config.vocabulary_size,
            )
            seeds = stream_seed(batch["seed"], _PATCHES)
            masked = masked_patches(seeds, masking, config.grid)
        text = self.embed_text(texts, token_ids, training)
        image = embedded_image(outputs)
        if masked is not None:
            image = self.embed_image(batch, training, masked=masked)
        fused = self.fuse(text, image, texts["seed"] if training else None, training)
        cells = image.values.shape[1] - 1
        return {
            "pass_pooled": fused.pooled,
            "pass_text": fused.text.values,
            "pass_words": words,
            "pass_word_ids": texts["token_ids"],
            "pass_word_mask": texts["text_mask"],
            "pass_image": fused.image.values[:, 1:],
            "pass_cells": tf.zeros([rows, cells], tf.bool) if masked is None else masked,
            "pass_labels": labels,
            "pass_weights": tf.ones_like(labels),
            "pass_positive": positive_rows(labels),
            "itm_texts": chosen,
            "itm_images": mismatches.index,
        }

    def _texts(
        self, batch: Batch, outputs: Outputs, mismatches: Mismatches
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Places of the texts in the global batch, int32 [B], and 1 for the pairs' own."""
        own, matching = mismatches.index, self.config.task("itm")
        if not isinstance(matching, ITMConfig):
            return own, tf.ones_like(own, tf.float32)
        _, logits = negative_logits(matching, batch, outputs, mismatches)
        seeds = stream_seed(batch["seed"], _NEGATIVE)
        others, found = draw_negatives(logits, mismatches.texts, seeds)
        drawn = draw_uniform(stream_seed(batch["seed"], _REPLACED), 1)[:, 0]
        replaced = found & (drawn < self.config.negative_share)
        return tf.where(replaced, others, own), 1.0 - tf.cast(replaced, tf.float32)
