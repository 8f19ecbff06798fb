"""Image-text matching: does this text belong to this image?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from vl_models.batch import Batch, Outputs
from vl_models.distribution import all_gather, global_mean
from vl_models.fusion.embedded import embedded_image, first_texts, has_pairs
from vl_models.fusion.tokens import Tokens
from vl_models.layers import initializers
from vl_models.losses.negatives import draw_negatives, half_of, partly_even
from vl_models.losses.positives import PairHashes, click_similarity
from vl_models.row_random import draw_uniform, stream_seed
from vl_models.tasks.base import Task
from vl_models.tasks.fusion_config import ITMConfig
from vl_models.tasks.matching import Mismatches, Pass, fuse_passes, joined, pass_tokens

if TYPE_CHECKING:
    from vl_models.models.fusion_config import FusionConfig

_HALF, _IMAGE, _TEXT = 61, 62, 63
_KAPPA = 10.0


class ImageTextMatching(Task):
    """Cross-entropy of two classes over pairs and what was put together from the global batch.

    Class 1 is a pair. Negatives are drawn without gradient by the rows' seeds, never what is known
    to match.
    Sources: Kim et al., "ViLT", section 3.2 (half of the texts get another image); Bao et al.,
    "VLMo", section 3.3 (each pair with a hard negative image and a hard negative text).

    Args:
        config: options.
        model: configuration of the system.
    """

    config: ITMConfig

    def __init__(self, config: ITMConfig, model: FusionConfig) -> None:
        super().__init__(config)
        self.head = matching_head(model)

    def forward(self, model: Any, batch: Batch, outputs: Outputs, training: bool) -> Outputs:
        """Read pairs and negatives.

        Returns:
            ``itm_logits`` float32 [P, 2], ``itm_labels`` and ``itm_weights`` float32 [P],
            ``itm_texts`` and ``itm_images`` int32 [P] (places in the global batch), and the tokens
            after the joint encoder, ``itm_text_tokens`` [P, L, W] and ``itm_image_tokens``
            [P, N, W] with their masks; nothing if a modality is absent.
        """
        if not has_pairs(outputs):
            return {}
        rows = embedded_image(outputs).values.shape[0]
        mismatches = Mismatches.of_batch(batch, rows, self.config.exclude_known)
        draw = self._triple if self.config.layout == "triple" else self._half
        passes = draw(batch, outputs, mismatches)
        fused = fuse_passes(model, batch, outputs, passes, training)
        scored = joined(passes)
        return {
            "itm_logits": tf.cast(self.head(fused.pooled), tf.float32),
            "itm_labels": scored.labels,
            "itm_weights": scored.weights,
            "itm_texts": scored.texts,
            "itm_images": scored.images,
            **pass_tokens(fused.text, "itm_text"),
            **pass_tokens(fused.image, "itm_image"),
        }

    def losses(self, batch: Batch, outputs: Outputs) -> dict[str, tf.Tensor]:
        """``itm``; nothing if a modality is absent."""
        if "itm_logits" not in outputs:
            return {}
        labels = tf.cast(outputs["itm_labels"], tf.int32)
        entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, outputs["itm_logits"])
        return {"itm": self.config.weight * global_mean(entropy, outputs["itm_weights"])}

    def abilities(self, model: Any) -> Mapping[str, Callable[..., tf.Tensor]]:
        """``score_pairs``: the logarithm of the odds that a pair matches.

        With ``store_tokens`` the same in two steps, ``encode_image_tokens`` and ``score_tokens``.
        """

        def score_pairs(batch: Batch) -> tf.Tensor:
            return log_odds(self.head(model.fuse_batch(batch).pooled))

        def encode_image_tokens(batch: Batch) -> tf.Tensor:
            return tf.cast(model.embed_image(batch, training=False).values, tf.float32)

        def score_tokens(batch: Batch, tokens: tf.Tensor) -> tf.Tensor:
            text = model.embed_text(batch, batch["token_ids"], training=False)
            image = Tokens(
                tf.cast(tokens, text.values.dtype), tf.ones(tf.shape(tokens)[:2], tf.bool)
            )
            return log_odds(self.head(model.fuse(text, image).pooled))

        if not self.config.store_tokens:
            return {"score_pairs": score_pairs}
        return {
            "score_pairs": score_pairs,
            "encode_image_tokens": encode_image_tokens,
            "score_tokens": score_tokens,
        }

    def _triple(self, batch: Batch, outputs: Outputs, mismatches: Mismatches) -> list[Pass]:
        """Each pair; its text with a negative image; its image with a negative text."""
        of_images, of_texts = negative_logits(self.config, batch, outputs, mismatches)
        images, has_image = draw_negatives(
            of_images, mismatches.images, stream_seed(batch["seed"], _IMAGE)
        )
        texts, has_text = draw_negatives(
            of_texts, mismatches.texts, stream_seed(batch["seed"], _TEXT)
        )
        own, one = mismatches.index, tf.ones_like(mismatches.index, tf.float32)
        zero = tf.zeros_like(one)
        return [
            Pass(own, own, one, one),
            Pass(own, images, zero, tf.cast(has_image, tf.float32)),
            Pass(texts, own, zero, tf.cast(has_text, tf.float32)),
        ]

    def _half(self, batch: Batch, outputs: Outputs, mismatches: Mismatches) -> list[Pass]:
        """Each text once; for exactly half of the global batch with another image."""
        logits, _ = negative_logits(self.config, batch, outputs, mismatches)
        seeds = stream_seed(batch["seed"], _IMAGE)
        images, found = draw_negatives(logits, mismatches.images, seeds)
        own = mismatches.index
        uniform = draw_uniform(stream_seed(batch["seed"], _HALF), 1)[:, 0]
        stays = tf.gather(half_of(all_gather(uniform)), own)
        return [
            Pass(
                own,
                tf.where(stays, own, images),
                tf.cast(stays, tf.float32),
                tf.cast(stays | found, tf.float32),
            )
        ]


def negative_logits(
    config: ITMConfig, batch: Batch, outputs: Outputs, mismatches: Mismatches
) -> list[tf.Tensor]:
    """What images are drawn by for own texts, and texts for own images, [B, G] each.

    By clicks it is κ times the similarity of `click_similarity`, κ = 10: images of the same queries
    are the hardest to tell apart, and what was clicked knows them before anything is learnt.
    """
    forbidden = (mismatches.images, mismatches.texts)
    if config.negatives == "random":
        return [tf.zeros(part.shape) for part in forbidden]
    if config.negatives == "similar":
        rows = mismatches.index.shape[0]
        own = PairHashes.of_batch(batch, rows, rows * (batch["query_hash"].shape[0] // rows))
        logits = 2 * [_KAPPA * click_similarity(own, own.gathered())]
    else:
        logits = _contrast_logits(outputs)
    if config.hard_share == 1.0:
        return logits
    return [partly_even(*both, config.hard_share) for both in zip(logits, forbidden)]


def matching_head(model: FusionConfig) -> keras.layers.Dense:
    """Make the two scores of a pooled vector, no pair and pair."""
    return keras.layers.Dense(
        2,
        use_bias=model.MATCHING_BIAS,
        kernel_initializer=initializers.normal(model.initializer_range),
        dtype=model.precision,
        name="itm_head",
    )


def log_odds(logits: tf.Tensor) -> tf.Tensor:
    """Score of pairs: float32 [B] of logits [B, 2]."""
    logits = tf.cast(logits, tf.float32)
    return logits[:, 1] - logits[:, 0]


def _contrast_logits(outputs: Outputs) -> list[tf.Tensor]:
    """Scaled cosines of own texts to all images and of own images to all texts, [B, G] each."""
    image, text = outputs["image_embedding"], outputs["text_embedding"]
    image = tf.stop_gradient(image)
    text = tf.stop_gradient(first_texts(text, image.shape[0]))
    scale = tf.stop_gradient(outputs["itc_scale"])
    return [
        scale * tf.matmul(own, all_gather(other), transpose_b=True)
        for own, other in ((text, image), (image, text))
    ]
