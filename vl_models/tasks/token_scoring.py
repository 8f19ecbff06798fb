"""Scores of pairs from image vectors that were computed before the query came."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from vl_models.batch import Batch, Outputs
from vl_models.distribution import all_gather, global_mean
from vl_models.encoders.bert import BertEncoder
from vl_models.fusion.embedded import first_texts, pair_seeds
from vl_models.fusion.single_stream import SingleStreamEncoder
from vl_models.fusion.tokens import Tokens
from vl_models.layers import initializers
from vl_models.layers.attentional_pooler import AttentionalPooler
from vl_models.tasks.base import Task
from vl_models.tasks.fusion_config import TokenScoringConfig
from vl_models.tasks.itm import log_odds

if TYPE_CHECKING:
    from vl_models.models.fusion_config import FusionConfig

_PASS = 10


class TokenScoring(Task):
    """A small joint encoder over a text and an image's pooled vectors; a student of matching.

    The image encoder's tokens go through an attentional pooler to T vectors of W numbers: they are
    what an index keeps. Both encoders score the same pairs; the loss is the binary cross-entropy
    against the truth and against the full encoder's probabilities.
    Source: Taraday et al., "Efficient Discriminative Joint Encoders for Large Scale Vision-Language
    Reranking" (ICLR 2026); distillation after Hinton et al., "Distilling the Knowledge in a Neural
    Network", section 2.

    Args:
        config: options.
        model: configuration of the system.
    """

    config: TokenScoringConfig

    def __init__(self, config: TokenScoringConfig, model: FusionConfig) -> None:
        super().__init__(config)
        assert model.vocabulary_size is not None
        precision = model.precision
        self.max_length = model.max_length

        def dense(units: int, name: str) -> keras.layers.Dense:
            return keras.layers.Dense(
                units, kernel_initializer=initializers.normal(0.02), dtype=precision, name=name
            )

        self.pooler = AttentionalPooler(
            config.tokens, config.width, config.heads, dtype=precision, name="token_pooler"
        )
        self.compress = dense(config.token_width, "token_compression")
        self.expand = dense(config.width, "token_expansion")
        self.text_embedding = BertEncoder(
            model.vocabulary_size,
            config.width,
            depth=0,
            heads=config.heads,
            dtype=precision,
            name="token_text_embedding",
        )
        self.encoder = SingleStreamEncoder(
            config.width, config.depth, config.heads, dtype=precision, name="token_encoder"
        )
        self.head = dense(1, "token_scoring_head")

    def build(self, width: int) -> None:
        """Create all variables."""
        config = self.config
        self.pooler.build((None, None, width))
        self.compress.build((None, None, config.width))
        self.expand.build((None, None, config.token_width))
        self.text_embedding.build((None, self.max_length))
        self.encoder.build()
        self.head.build((None, config.width))

    def forward(self, model: Any, batch: Batch, outputs: Outputs, training: bool) -> Outputs:
        """Score the pairs of matching: ``token_logits`` float32 [P]; nothing without them."""
        if "itm_logits" not in outputs:
            return {}
        image_tokens = all_gather(self._pooled(model, outputs))
        rows = batch["image"].shape[0]
        ids, mask = (
            all_gather(first_texts(batch[key], rows)) for key in ("token_ids", "text_mask")
        )
        texts, images = outputs["itm_texts"], outputs["itm_images"]
        passes = texts.shape[0] // rows
        seeds = None
        if training and "seed" in batch:
            streams = [pair_seeds(batch, _PASS + place) for place in range(passes)]
            seeds = tf.concat(streams, axis=0)
        logits = self._score(
            tf.gather(ids, texts),
            tf.gather(mask, texts),
            tf.gather(image_tokens, images),
            seeds,
            training,
        )
        return {"token_logits": logits}

    def losses(self, batch: Batch, outputs: Outputs) -> dict[str, tf.Tensor]:
        """``token_scoring``; nothing without pairs."""
        if "token_logits" not in outputs:
            return {}
        teacher = tf.sigmoid(tf.stop_gradient(log_odds(outputs["itm_logits"])))
        share = self.config.distillation
        target = (1.0 - share) * outputs["itm_labels"] + share * teacher
        entropy = tf.nn.sigmoid_cross_entropy_with_logits(target, outputs["token_logits"])
        loss = global_mean(entropy, outputs["itm_weights"])
        return {"token_scoring": self.config.weight * loss}

    def abilities(self, model: Any) -> Mapping[str, Callable[..., tf.Tensor]]:
        """``encode_image_tokens`` and ``score_tokens``."""

        def encode_image_tokens(batch: Batch) -> tf.Tensor:
            images = {key: value for key, value in batch.items() if key.startswith("image")}
            return tf.cast(self._pooled(model, model.encode(images, training=False)), tf.float32)

        def score_tokens(batch: Batch, tokens: tf.Tensor) -> tf.Tensor:
            return self._score(batch["token_ids"], batch["text_mask"], tokens)

        return {"encode_image_tokens": encode_image_tokens, "score_tokens": score_tokens}

    def _pooled(self, model: Any, outputs: Outputs) -> tf.Tensor:
        """What an index keeps of images, [B, T, W]."""
        tokens = model.image_tokens(outputs)
        return self.compress(self.pooler(tokens.values, tokens.mask))

    def _score(
        self,
        token_ids: tf.Tensor,
        text_mask: tf.Tensor,
        tokens: tf.Tensor,
        seeds: tf.Tensor | None = None,
        training: bool = False,
    ) -> tf.Tensor:
        """Log-odds float32 [P] of texts int32 [P, L] and images [P, T, W]."""
        text = Tokens(self.text_embedding(token_ids, text_mask)["hidden"], text_mask)
        image = self.expand(tokens)
        fused = self.encoder(
            text,
            Tokens(image, tf.ones(tf.shape(image)[:2], tf.bool)),
            seeds=seeds,
            training=training,
        )
        return tf.cast(self.head(fused.pooled)[:, 0], tf.float32)
