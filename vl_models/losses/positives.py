"""Which images and texts of a batch belong together: by place, by keys, by labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import tensorflow as tf

from vl_models.distribution import all_gather, replica_index

_NO_HASH = -1
_NO_LABEL = -1


@dataclass(frozen=True)
class PairHashes:
    """What is known of some rows, each an image with its n texts.

    Attributes:
        index: int32 [B], place of the rows in the global batch.
        texts_per_image: n.
        image_id_hash: int64 [B], None if unknown; then rows belong together by place alone.
        query_hash: int64 [B·n], image-major.
        clicked_query_hashes: int64 [B, M], -1 padded.
        label: int32 [B], -1 = none; None if labels make no positives.
    """

    index: tf.Tensor
    texts_per_image: int
    image_id_hash: tf.Tensor | None = None
    query_hash: tf.Tensor | None = None
    clicked_query_hashes: tf.Tensor | None = None
    label: tf.Tensor | None = None

    @classmethod
    def of_batch(
        cls, batch: Mapping[str, tf.Tensor], rows: int, texts: int, use_labels: bool = False
    ) -> PairHashes:
        """Return the hashes of this replica's part of a batch (`vl_models.batch`).

        Args:
            batch: what it lacks stays None.
            rows: B on this replica.
            texts: B·n on this replica.
            use_labels: whether rows of the same label are positives.
        """
        known = "image_id_hash" in batch and "query_hash" in batch
        return cls(
            index=replica_index() * rows + tf.range(rows),
            texts_per_image=texts // rows,
            image_id_hash=batch["image_id_hash"] if known else None,
            query_hash=batch["query_hash"] if known else None,
            clicked_query_hashes=batch.get("clicked_query_hashes") if known else None,
            label=batch.get("label_id") if use_labels else None,
        )

    def gathered(self) -> PairHashes:
        """Return the hashes of all replicas, in the order of `all_gather`."""
        clicked = self.clicked_query_hashes
        if clicked is not None:
            # A gather forgets the number of columns.
            clicked = tf.ensure_shape(all_gather(clicked), [None, clicked.shape[1]])
        return PairHashes(
            index=all_gather(self.index),
            texts_per_image=self.texts_per_image,
            image_id_hash=_gathered(self.image_id_hash),
            query_hash=_gathered(self.query_hash),
            clicked_query_hashes=clicked,
            label=_gathered(self.label),
        )


def own_pairs(images: PairHashes, texts: PairHashes) -> tf.Tensor:
    """Return True where text j is one of those drawn for image i: bool [I, T].

    Args:
        images: I rows, of which the images are meant.
        texts: rows with T texts together.
    """
    return images.index[:, None] == _per_text(texts.index, texts)[None, :]


def known_positives(images: PairHashes, texts: PairHashes) -> tf.Tensor:
    """Return True where image i and text j must not be negatives of each other.

    They are positives if their rows share the image or a query, if the text is a known click
    of the image, or if their rows carry the same label. Own pairs are always positives.
    Labels: Yang et al., "Unified Contrastive Learning in Image-Text-Label Space", algorithm 1,
    where every unlabelled row gets a label of its own.

    Args:
        images: I rows, of which the images are meant.
        texts: rows with T texts together.

    Returns:
        bool [I, T].
    """
    positives = own_pairs(images, texts)
    if images.image_id_hash is not None and texts.image_id_hash is not None:
        positives |= images.image_id_hash[:, None] == _per_text(texts.image_id_hash, texts)[None, :]
        own_queries = tf.reshape(images.query_hash, [-1, images.texts_per_image])
        positives |= _any_column_equals(own_queries, texts.query_hash)
        if images.clicked_query_hashes is not None:
            positives |= _any_column_equals(images.clicked_query_hashes, texts.query_hash)
    if images.label is not None and texts.label is not None:
        labelled = images.label[:, None] != _NO_LABEL
        positives |= labelled & (images.label[:, None] == _per_text(texts.label, texts)[None, :])
    return positives


def _any_column_equals(hashes: tf.Tensor, query_hash: tf.Tensor) -> tf.Tensor:
    """True where one of the hashes [I, M] of image i is the hash [T] of text j: bool [I, T]."""
    found = tf.zeros([tf.shape(hashes)[0], tf.shape(query_hash)[0]], tf.bool)
    # One comparison per column: [I, M, T] at once would not fit for large batches.
    for column in tf.unstack(hashes, axis=1):
        found |= (column[:, None] == query_hash[None, :]) & (column[:, None] != _NO_HASH)
    return found


def _per_text(values: tf.Tensor, hashes: PairHashes) -> tf.Tensor:
    """Values [B] of rows, repeated for each of their texts: [B·n]."""
    return tf.repeat(values, hashes.texts_per_image)


def _gathered(values: tf.Tensor | None) -> tf.Tensor | None:
    return None if values is None else all_gather(values)
