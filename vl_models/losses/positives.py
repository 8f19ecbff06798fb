"""Which images and texts of a batch belong together: by place, keys, labels, the click graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import tensorflow as tf

from vl_models.choices import PositivesMode
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
        clicked_query_weight: float32 [B, M], 0 padded; see `click_similarity`.
        label: int32 [B], -1 = none; None if labels make no positives.
    """

    index: tf.Tensor
    texts_per_image: int
    image_id_hash: tf.Tensor | None = None
    query_hash: tf.Tensor | None = None
    clicked_query_hashes: tf.Tensor | None = None
    clicked_query_weight: tf.Tensor | None = None
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
            clicked_query_weight=batch.get("clicked_query_weight") if known else None,
            label=batch.get("label_id") if use_labels else None,
        )

    def gathered(self) -> PairHashes:
        """Return the hashes of all replicas, in the order of `all_gather`."""
        return PairHashes(
            index=all_gather(self.index),
            texts_per_image=self.texts_per_image,
            image_id_hash=_gathered(self.image_id_hash),
            query_hash=_gathered(self.query_hash),
            clicked_query_hashes=_gathered_columns(self.clicked_query_hashes),
            clicked_query_weight=_gathered_columns(self.clicked_query_weight),
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


def soft_positives(images: PairHashes, texts: PairHashes) -> tf.Tensor:
    """Return how much text j is a target of image i, by the click graph.

    1 for known positives, else the square of the similarity of what image i and the image of
    text j were clicked for: most pairs that nobody has clicked yet, but will, are found by it.

    Args:
        images: I rows, of which the images are meant.
        texts: rows with T texts together.

    Returns:
        float32 [I, T] in [0, 1].

    Raises:
        ValueError: a batch without ``clicked_query_weight``.
    """
    similarity = tf.square(click_similarity(images, texts))
    known = tf.cast(known_positives(images, texts), tf.float32)
    return tf.maximum(known, tf.repeat(similarity, texts.texts_per_image, axis=1))


def positives_of(mode: PositivesMode | bool) -> Callable[[PairHashes, PairHashes], tf.Tensor]:
    """Return what finds the positives of a mode: `soft_positives` for "graph", else the known."""
    return soft_positives if mode == "graph" else known_positives


def click_similarity(rows: PairHashes, others: PairHashes) -> tf.Tensor:
    """Cosine of the clicked queries of two sets of images, weighed by idf.

    Image i is the sparse vector of ``clicked_query_weight`` over the queries of
    ``clicked_query_hashes``; weights are of unit norm over all queries of the image, so the
    cosine of images with more than M queries is a lower bound. Takes the memory of
    I · (I + J) · M numbers.

    Args:
        rows: I rows.
        others: J rows.

    Returns:
        float32 [I, J] in [0, 1].

    Raises:
        ValueError: a batch without ``clicked_query_weight``.
    """
    for hashes in (rows, others):
        if hashes.clicked_query_hashes is None or hashes.clicked_query_weight is None:
            raise ValueError(
                "`positives: graph` needs batches with clicked_query_hashes and "
                "clicked_query_weight. Received: a batch without them"
            )
    # A query's column is the place of its first occurrence among the sorted hashes of both.
    keys = [tf.reshape(hashes.clicked_query_hashes, [-1]) for hashes in (rows, others)]
    ordered = tf.sort(tf.concat(keys, axis=0))

    def dense(hashes: PairHashes) -> tf.Tensor:
        clicked, weight = hashes.clicked_query_hashes, hashes.clicked_query_weight
        column = tf.reshape(tf.searchsorted(ordered, tf.reshape(clicked, [-1])), tf.shape(clicked))
        row = tf.repeat(tf.range(tf.shape(clicked)[0])[:, None], tf.shape(clicked)[1], axis=1)
        weight = tf.where(clicked == _NO_HASH, 0.0, weight)
        return tf.scatter_nd(
            tf.stack([row, column], axis=-1), weight, [tf.shape(clicked)[0], tf.size(ordered)]
        )

    # Rounding may leave the cosine of an image with itself above 1.
    return tf.minimum(tf.matmul(dense(rows), dense(others), transpose_b=True), 1.0)


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


def _gathered_columns(values: tf.Tensor | None) -> tf.Tensor | None:
    """Gather [B, M]; a gather forgets the number of columns."""
    if values is None:
        return None
    return tf.ensure_shape(all_gather(values), [None, values.shape[1]])


def _gathered(values: tf.Tensor | None) -> tf.Tensor | None:
    return None if values is None else all_gather(values)
