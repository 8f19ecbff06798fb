"""A ring buffer of earlier batches' key embeddings: negatives beyond the batch."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
from keras import ops

from vl_models.choices import WarmUp
from vl_models.distribution import update_copies
from vl_models.layers.projection import l2_normalize
from vl_models.layers.ring_buffer import RingBuffer
from vl_models.layers.state import add_state

_NO_HASH = -1


def _unit_rows(shape: Any, dtype: Any = None) -> Any:
    """Return normally distributed rows, normalised: uniform on the unit sphere."""
    return ops.cast(l2_normalize(keras.initializers.RandomNormal(stddev=1.0)(shape)), dtype)


class FeatureQueue(RingBuffer):
    """The newest K embeddings, each with the keys of its image and queries; first in, first out.

    All state is variables, so that checkpoints hold it: ``features`` float32 [K, D],
    ``image_id_hash`` int64 [K], ``query_hash`` int64 [K, Q] (-1 = none), ``enqueued_at`` int64 [K]
    (in forward passes), ``pointer`` (the slot that is written next), ``filled`` and ``passes``
    int64. Unlike in the reference code, K need be no multiple of the batch.
    Source: He et al., "Momentum Contrast for Unsupervised Visual Representation Learning",
    section 3.2 and algorithm 1.

    Args:
        size: K, number of slots.
        dim: D, width of an embedding.
        query_hashes: Q, how many query hashes an entry carries.
        warm_up: what a slot is that nothing was written to yet: no negative ("masked"), or the
            random unit vector that it was initialised with (the published "random").
    """

    def __init__(
        self, size: int, dim: int, query_hashes: int = 1, warm_up: WarmUp = "masked", **kwargs: Any
    ) -> None:
        super().__init__(size, **kwargs)
        if warm_up not in ("masked", "random"):
            raise ValueError(
                f"`warm_up` must be 'masked' or 'random'. Received: warm_up={warm_up!r}"
            )
        self.dim = dim
        self.query_hashes = query_hashes
        self.warm_up = warm_up

    def build(self, input_shape: Any = None) -> None:
        """Create the state; no optimiser sees it."""
        super().build(input_shape)
        no_hash = keras.initializers.Constant(_NO_HASH)
        self.features = add_state(self, "features", (self.size, self.dim), _unit_rows, "float32")
        self.image_id_hash = add_state(self, "image_id_hash", (self.size,), no_hash)
        self.query_hash = add_state(self, "query_hash", (self.size, self.query_hashes), no_hash)
        self.enqueued_at = add_state(self, "enqueued_at", (self.size,))
        self.passes = add_state(self, "passes")

    def call(self, embeddings: Any) -> Any:
        """Cosines of unit-norm [B, D] with all slots, float32 [B, K]; no gradient to the slots."""
        return tf.matmul(tf.cast(embeddings, tf.float32), self.entries(), transpose_b=True)

    def entries(self) -> tf.Tensor:
        """Return the embeddings of all slots, float32 [K, D], without gradient."""
        return tf.stop_gradient(tf.convert_to_tensor(self.features))

    def unusable(self) -> tf.Tensor:
        """Return True for slots that are no negatives, bool [K]: unfilled ones, unless "random"."""
        if self.warm_up == "random":
            return tf.zeros([self.size], tf.bool)
        return ~self.is_filled()

    def matches_image(self, image_id_hash: tf.Tensor) -> tf.Tensor:
        """Return True where an entry's image is that of a row: int64 [B] to bool [B, K]."""
        return image_id_hash[:, None] == tf.convert_to_tensor(self.image_id_hash)[None, :]

    def queries(self) -> tf.Tensor:
        """Query keys of the entries, int64 [K, Q]."""
        return tf.convert_to_tensor(self.query_hash)

    def enqueue(self, features: tf.Tensor, image_id_hash: tf.Tensor, query_hash: tf.Tensor) -> None:
        """Write the keys of one global batch over the oldest entries.

        All replicas must give the same, gathered values. Of more than K rows the last K stay.

        Args:
            features: unit-norm float [G, D].
            image_id_hash: int64 [G].
            query_hash: int64 [G, Q].

        Raises:
            ValueError: D or Q differs from the queue's.
        """
        if (features.shape[1], query_hash.shape[1]) != (self.dim, self.query_hashes):
            raise ValueError(
                f"The queue holds vectors of width {self.dim}, {self.query_hashes} query hashes "
                f"each. Received: features {features.shape}, query_hash {query_hash.shape}"
            )
        passes = tf.convert_to_tensor(self.passes)
        self.write_rows(
            (
                (self.features, features),
                (self.image_id_hash, image_id_hash),
                (self.query_hash, query_hash),
                (self.enqueued_at, tf.fill(tf.shape(features)[:1], passes)),
            )
        )
        update_copies(self.passes.value, lambda copy, value: copy.assign(value), passes + 1)

    def scalars(self) -> dict[str, tf.Tensor]:
        """For the log: ``<name>/age`` and ``<name>/filled_share``, float32 scalars."""
        filled = tf.cast(tf.convert_to_tensor(self.filled), tf.float32)
        return {
            f"{self.name}/age": tf.cast(self.age(), tf.float32),
            f"{self.name}/filled_share": filled / self.size,
        }

    def age(self) -> tf.Tensor:
        """How many forward passes ago the oldest entry was written, int64 scalar; 0 if empty."""
        filled = tf.convert_to_tensor(self.filled)
        oldest = tf.where(filled == self.size, tf.convert_to_tensor(self.pointer), 0)
        written = tf.gather(tf.convert_to_tensor(self.enqueued_at), oldest)
        age = tf.convert_to_tensor(self.passes) - written
        return tf.where(filled == 0, tf.zeros_like(age), age)
