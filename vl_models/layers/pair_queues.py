"""An image queue and a text queue that are filled side by side."""

from __future__ import annotations

from collections.abc import Mapping

import keras
import tensorflow as tf

from vl_models.choices import WarmUp
from vl_models.distribution import all_gather
from vl_models.layers.feature_queue import FeatureQueue
from vl_models.losses.queue import shared_queries

NO_HASH = -1


class PairQueues:
    """The keys of earlier pairs, by modality, and which of them fit a query.

    An image enters the image queue once and each of its n texts enters the text queue, so the
    slots of both queues hold the same pairs only if n = 1. What a batch lacks in keys
    (``image_id_hash``, ``query_hash``, ``clicked_query_hashes``) is unknown and fits nothing.

    Args:
        size: K of each queue.
        dim: D.
        query_hashes: how many query hashes an image carries: its texts, then its known clicks.
        warm_up: see `FeatureQueue`.

    Attributes:
        image: the image queue, a layer named "image_queue".
        text: the text queue, a layer named "text_queue".
    """

    def __init__(self, size: int, dim: int, query_hashes: int, warm_up: WarmUp) -> None:
        self.image = FeatureQueue(
            size, dim, query_hashes, warm_up, dtype="float32", name="image_queue"
        )
        self.text = FeatureQueue(size, dim, 1, warm_up, dtype="float32", name="text_queue")

    @property
    def layers(self) -> tuple[keras.layers.Layer, ...]:
        """The image queue and the text queue."""
        return self.image, self.text

    def excluded(
        self, batch: Mapping[str, tf.Tensor], images: int, texts: int, mask_known: bool
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Entries that are no negatives: unusable slots, and those known to fit.

        Args:
            batch: of this replica.
            images: B of this replica.
            texts: B·n of this replica.
            mask_known: whether an entry that shares the image or a query, or is a known click, is
                excluded.

        Returns:
            Of the text queue for each pair's image, and of the image queue for each pair's text:
            bool [B·n, K], or [1, K] where it is the same for all.
        """
        text_excluded = self.text.unusable()[None, :]
        image_excluded = self.image.unusable()[None, :]
        if not (mask_known and {"image_id_hash", "query_hash"} <= batch.keys()):
            return text_excluded, image_excluded
        image_id_hash, per_image = batch["image_id_hash"], texts // images
        known = tf.transpose(
            shared_queries(_image_queries(batch, images), self.text.queries()[:, 0])
        )
        text_excluded |= self.text.matches_image(image_id_hash) | known
        image_excluded |= self.image.matches_image(tf.repeat(image_id_hash, per_image))
        image_excluded |= shared_queries(self.image.queries(), batch["query_hash"])
        return tf.repeat(text_excluded, per_image, axis=0), image_excluded

    def enqueue(self, batch: Mapping[str, tf.Tensor], images: tf.Tensor, texts: tf.Tensor) -> None:
        """Put the keys of the global batch into the queues, in replica context.

        Args:
            batch: of this replica.
            images: unit-norm [B, D] of this replica.
            texts: unit-norm [B·n, D] of this replica.
        """
        rows, count = images.shape[0], texts.shape[0]
        width = self.image.query_hashes
        queries = _image_queries(batch, rows)[:, :width]
        missing = width - queries.shape[1]
        queries = tf.pad(queries, [[0, 0], [0, missing]], constant_values=NO_HASH)
        image_id_hash = batch.get("image_id_hash", tf.fill([rows], tf.constant(NO_HASH, tf.int64)))
        query_hash = batch.get("query_hash", tf.fill([count], tf.constant(NO_HASH, tf.int64)))
        self.image.enqueue(all_gather(images), all_gather(image_id_hash), all_gather(queries))
        self.text.enqueue(
            all_gather(texts),
            all_gather(tf.repeat(image_id_hash, count // rows)),
            all_gather(query_hash[:, None]),
        )

    def scalars(self) -> dict[str, tf.Tensor]:
        """See `FeatureQueue.scalars`, of both."""
        return {**self.image.scalars(), **self.text.scalars()}


def _image_queries(batch: Mapping[str, tf.Tensor], images: int) -> tf.Tensor:
    """Queries that each image is known for, its texts before its clicks: int64 [B, n + M]."""
    known = [
        tf.reshape(batch[key], [images, -1])
        for key in ("query_hash", "clicked_query_hashes")
        if key in batch
    ]
    return tf.concat(known, 1) if known else tf.zeros([images, 0], tf.int64)
