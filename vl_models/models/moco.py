"""MoCo: two views of an image find each other among a queue of other images' views.

He et al., "Momentum Contrast for Unsupervised Visual Representation Learning" (v1); Chen et
al., "Improved Baselines with Momentum Contrastive Learning" (v2).
"""

from __future__ import annotations

from collections.abc import Collection

import tensorflow as tf

from vl_models.batch import Batch, Outputs
from vl_models.distribution import all_gather, global_mean
from vl_models.encoders.factory import build_image_encoder
from vl_models.encoders.towers import encode_images
from vl_models.layers.feature_queue import FeatureQueue
from vl_models.layers.momentum_encoder import MomentumEncoder
from vl_models.layers.projection_head import ProjectionHead
from vl_models.layers.shuffled_batch import (
    encode_in_groups,
    encode_shuffled,
    has_batch_statistics,
)
from vl_models.losses.collapsed import with_equal_logits
from vl_models.losses.queue import Negatives, queue_cross_entropy, queue_logits
from vl_models.models.base import VisionLanguageModel
from vl_models.models.moco_config import MoCoConfig


class MoCo(VisionLanguageModel):
    """An image tower, its momentum encoder, and one queue; there is no text tower.

    The query is ``image``, the key ``image_2``. The momentum encoder is updated after each
    optimiser update, which is where algorithm 1 has it: before the next batch's keys.

    Args:
        config: sizes and options.
    """

    config: MoCoConfig

    def __init__(self, config: MoCoConfig) -> None:
        super().__init__(config)
        image_encoder = build_image_encoder(config.image, "image_encoder", config.precision)
        image_projection = ProjectionHead(
            config.embedding_dim,
            hidden_layer=config.head == "mlp",
            dtype=config.precision,
            name="image_projection",
        )
        self.image_layers = (image_encoder, image_projection)
        self.momentum_image = MomentumEncoder(self.image_layers, config.momentum)
        self.queue = FeatureQueue(
            config.queue_size,
            config.embedding_dim,
            warm_up=config.warm_up,
            dtype="float32",
            name="queue",
        )
        self._has_batch_statistics = False

    def build(self) -> None:
        """Create every variable; a second call changes nothing."""
        if self.queue.built:
            return
        size = self.config.image_size
        self.encode_image({"image": tf.zeros([1, size, size, 3], tf.uint8)})
        self._has_batch_statistics = has_batch_statistics(self.image_layers)
        self.momentum_image.build()
        self.queue.build()

    def encode(self, batch: Batch, training: bool) -> Outputs:
        """Embed the queries and, if there is a second view, the keys.

        Returns:
            ``image_embedding`` and ``image_2_key_embedding``, unit-norm float32 [B, D] of this
            replica; the latter without gradient.
        """
        outputs = {"image_embedding": self._embed(batch, training)}
        if "image_2" in batch:
            keys = self._embed_keys({**batch, "image": batch["image_2"]}, training)
            outputs["image_2_key_embedding"] = tf.stop_gradient(keys)
        return outputs

    def own_losses(self, batch: Batch, outputs: Outputs) -> dict[str, tf.Tensor]:
        """``contrastive``: algorithm 1's cross-entropy; nothing without a second view."""
        if "image_2_key_embedding" not in outputs:
            return {}
        excluded = self.queue.unusable()[None, :]
        if self.config.mask_known and "image_id_hash" in batch:
            excluded |= self.queue.matches_image(batch["image_id_hash"])
        logits = queue_logits(
            outputs["image_embedding"],
            outputs["image_2_key_embedding"],
            [Negatives(self.queue.entries(), excluded)],
            1.0 / self.config.temperature,
        )
        return {"contrastive": global_mean(queue_cross_entropy(logits))}

    def own_collapsed_losses(self, batch: Batch, outputs: Outputs) -> dict[str, tf.Tensor]:
        """Return ln(1 + K), K the negatives that are not masked."""
        return self.own_losses(batch, with_equal_logits(outputs))

    def after_step(self, batch: Batch, outputs: Outputs) -> None:
        """Put the keys of the global batch into the queue."""
        super().after_step(batch, outputs)
        if "image_2_key_embedding" not in outputs:
            return
        image_id_hash = batch.get("image_id_hash")
        if image_id_hash is None:
            image_id_hash = tf.fill(tf.shape(batch["image"])[:1], tf.constant(-1, tf.int64))
        image_id_hash = all_gather(image_id_hash)
        no_query = tf.fill([tf.shape(image_id_hash)[0], 1], tf.constant(-1, tf.int64))
        self.queue.enqueue(all_gather(outputs["image_2_key_embedding"]), image_id_hash, no_query)

    def after_update(self) -> None:
        """Move the momentum encoder towards the tower."""
        super().after_update()
        self.momentum_image.update()

    def after_warm_start(self, loaded: Collection[str]) -> None:
        """Copy loaded weights to the momentum encoder, unless it was loaded too."""
        super().after_warm_start(loaded)
        self.momentum_image.synchronise(loaded)

    def scalars(self) -> dict[str, tf.Tensor]:
        """Temperature, momentum, age of the oldest entry in forward passes, filled share."""
        return {
            **super().scalars(),
            "temperature": tf.constant(self.config.temperature),
            "momentum": tf.constant(self.config.momentum),
            **self.queue.scalars(),
        }

    def encode_image(self, batch: Batch) -> tf.Tensor:
        """Image embeddings, unit-norm float32 [B, D]."""
        return encode_images(self.image_layers, batch, training=False)

    def _embed(self, batch: Batch, training: bool) -> tf.Tensor:
        """Return queries [B, D]; batch statistics are those of virtual devices."""
        if not self._has_batch_statistics:
            return encode_images(self.image_layers, batch, training)
        return encode_in_groups(
            lambda images: encode_images(self.image_layers, {"image": images}, training),
            batch["image"],
            self.config.virtual_devices,
        )

    def _embed_keys(self, batch: Batch, training: bool) -> tf.Tensor:
        """Keys [B, D]; batch statistics are those of shuffled rows (section 3.3)."""
        layers = self.momentum_image.layers
        if not self._has_batch_statistics:
            return encode_images(layers, batch, training)
        return encode_shuffled(
            lambda images: encode_images(layers, {"image": images}, training),
            batch["image"],
            batch["seed"],
            self.config.virtual_devices,
        )
