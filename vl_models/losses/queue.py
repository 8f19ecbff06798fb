"""Contrastive losses against queues of earlier keys: MoCo, WenLan.

Pure functions on one replica's rows; the mean over the global batch is the model's. Everything
is computed in float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

# Finite, so that a row whose negatives are all excluded has the loss 0 and not NaN.
_MASKED = -1e9
_NO_HASH = -1


class Negatives(NamedTuple):
    """Candidates that every query is compared with.

    Attributes:
        embedding: unit-norm [K, D].
        excluded: bool [b, K] or [1, K]; True = no negative of this query. None excludes nothing.
    """

    embedding: tf.Tensor
    excluded: tf.Tensor | None = None


def queue_logits(
    query: tf.Tensor, key: tf.Tensor, negatives: Sequence[Negatives], scale: tf.Tensor | float
) -> tf.Tensor:
    """Compute [q·k, q·u₁, …, q·u_K] · scale; no gradient to keys and negatives.

    Source: He et al., "Momentum Contrast for Unsupervised Visual Representation Learning",
    algorithm 1.

    Args:
        query: unit-norm [b, D].
        key: unit-norm [b, D], the positive of each query.
        negatives: the queue, and what else counts.
        scale: inverse temperature, scalar.

    Returns:
        float32 [b, 1 + K], K over all negatives; class 0 is the positive.
    """
    # Scaled before the product: [b, D] is small beside [b, K].
    query = scale * tf.cast(query, tf.float32)
    key = tf.stop_gradient(tf.cast(key, tf.float32))
    columns = [tf.reduce_sum(query * key, axis=1, keepdims=True)]
    for block in negatives:
        embedding = tf.stop_gradient(tf.cast(block.embedding, tf.float32))
        logits = tf.matmul(query, embedding, transpose_b=True)
        columns.append(
            logits if block.excluded is None else tf.where(block.excluded, _MASKED, logits)
        )
    return tf.concat(columns, axis=1)


def queue_cross_entropy(
    logits: tf.Tensor,
    positives: tf.Tensor | None = None,
    *,
    share: bool = False,
    label_smoothing: float = 0.0,
) -> tf.Tensor:
    """Cross-entropy of class 0, plus that of every further positive.

    With further positives it is WenLan's multi-label form: the sum of -log softmax over the
    positives of a row. ``share`` takes their mean instead, as UniCL does.

    Args:
        logits: [b, 1 + K] of `queue_logits`.
        positives: [b, K], columns that count as positives too, bool or by their weight in [0, 1];
            must not be excluded.
        share: whether the positives of a row share its target evenly.
        label_smoothing: share of the target that is spread evenly over all columns that are not
            excluded.

    Returns:
        float32 [b].
    """
    logits = tf.cast(logits, tf.float32)
    classes = tf.zeros(tf.shape(logits)[:1], tf.int32)
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(classes, logits)
    if positives is None and label_smoothing == 0.0:
        return losses
    log_softmax = tf.nn.log_softmax(logits)
    if positives is not None:
        positives = tf.cast(positives, tf.float32)
        losses -= tf.reduce_sum(positives * log_softmax[:, 1:], axis=1)
        if share:
            losses /= 1.0 + tf.reduce_sum(positives, axis=1)
    if label_smoothing:
        visible = tf.cast(logits > 0.5 * _MASKED, tf.float32)
        spread = -tf.reduce_sum(visible * log_softmax, axis=1) / tf.reduce_sum(visible, axis=1)
        losses = (1.0 - label_smoothing) * losses + label_smoothing * spread
    return losses


def mutual_neighbours(
    image_cosines: tf.Tensor, text_cosines: tf.Tensor, excluded: tf.Tensor, count: int = 1
) -> tf.Tensor:
    """Queue entries that are nearest to a pair by image and by text.

    Both queues must hold the same pairs in the same slots.

    Args:
        image_cosines: of the pairs' image keys with the image queue, [b, K].
        text_cosines: of their text keys with the text queue, [b, K].
        excluded: bool [b, K] or [1, K], entries that do not count.
        count: k; an entry must be among the k nearest in both.

    Returns:
        bool [b, K].
    """
    both = ~excluded
    for cosines in (image_cosines, text_cosines):
        visible = tf.where(excluded, _MASKED, cosines)
        both &= visible >= tf.math.top_k(visible, count).values[:, -1:]
    return both


def shared_queries(image_queries: tf.Tensor, query_hash: tf.Tensor) -> tf.Tensor:
    """Return True where text t is one of the queries that image i is known for.

    The cost hardly depends on M: the keys are looked up in the sorted queries, and only what
    was found is compared.

    Args:
        image_queries: int64 [I, M], -1 padded.
        query_hash: int64 [T], -1 = none.

    Returns:
        bool [T, I].
    """
    images, texts = tf.shape(image_queries)[0], tf.shape(query_hash)[0]
    ordered = tf.sort(query_hash)
    keys = tf.reshape(image_queries, [-1])
    place = tf.minimum(tf.searchsorted(ordered, keys), texts - 1)
    found = (tf.gather(ordered, place) == keys) & (keys != _NO_HASH)
    image = tf.repeat(tf.range(images), tf.shape(image_queries)[1])
    # Row t of the table is the t-th query in order; what was not found goes to a row beyond.
    cells = tf.stack([tf.where(found, place, texts), image], axis=1)
    table = tf.tensor_scatter_nd_update(
        tf.zeros([texts + 1, images], tf.bool), cells, tf.ones_like(found)
    )
    return tf.gather(table, tf.searchsorted(ordered, query_hash))
