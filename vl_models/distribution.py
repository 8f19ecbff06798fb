"""Gathers and means over replicas: how a loss on the global batch is computed.

Contract: every replica returns the *same* global scalar. The trainer differentiates
``loss / replicas`` and sums gradients over replicas; as gathers carry gradient, the sum is
exactly the gradient of one device on the concatenated batch.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf


def replica_count() -> int:
    """Return the number of replicas that run in step here: 1 outside a replica context."""
    context = tf.distribute.get_replica_context()
    return 1 if context is None else context.num_replicas_in_sync


def replica_index() -> tf.Tensor:
    """Return the number of this replica, int32 scalar; 0 outside a replica context."""
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return tf.constant(0)
    return tf.cast(tf.convert_to_tensor(context.replica_id_in_sync_group), tf.int32)


def all_gather(x: tf.Tensor) -> tf.Tensor:
    """Concatenate ``x`` of all replicas along axis 0, in replica order, with gradient.

    Args:
        x: [batch, ...] of equal shape on every replica.

    Returns:
        [replicas * batch, ...]; ``x`` itself with one replica.
    """
    if replica_count() == 1:
        return x
    if x.dtype == tf.bool:  # which collectives do not take
        return tf.cast(all_gather(tf.cast(x, tf.int32)), tf.bool)
    # The identity has this replica's device; an argument of a graph has none, which several
    # workers refuse ("destinations can not be empty").
    gathered = tf.distribute.get_replica_context().all_gather(tf.identity(x), axis=0)
    # The collective forgets all static shapes; layers and losses want them.
    rows = None if x.shape[0] is None else x.shape[0] * replica_count()
    return _with_dense_gradient(tf.ensure_shape(gathered, [rows, *x.shape[1:]]))


@tf.custom_gradient
def _with_dense_gradient(x: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
    """Return ``x``; rows that are looked up in it give a sparse gradient, which gathers refuse."""
    return x, tf.convert_to_tensor


def all_gather_detached(x: tf.Tensor) -> tf.Tensor:
    """Concatenate ``x`` of all replicas; only this replica's own rows carry gradient.

    Args:
        x: float [batch, D] of equal shape on every replica.

    Returns:
        [replicas * batch, D], equal to `all_gather`.
    """
    if replica_count() == 1:
        return x
    gathered = tf.stop_gradient(all_gather(x))
    rows = tf.shape(x)[0]
    own = replica_index() * rows + tf.range(rows)
    return tf.tensor_scatter_nd_update(gathered, own[:, None], x)


def global_sum(x: tf.Tensor) -> tf.Tensor:
    """Sum a tensor element-wise over replicas, with gradient; identity with one replica."""
    if replica_count() == 1:
        return x
    context = tf.distribute.get_replica_context()
    return context.all_reduce(tf.distribute.ReduceOp.SUM, tf.identity(x))


def global_mean(values: tf.Tensor, weights: tf.Tensor | None = None) -> tf.Tensor:
    """Weighted mean over all items of all replicas: Σ w·v / Σ w, 0 when all weights are 0.

    A mean of per-replica means would weigh items of a sparsely filled replica more.

    Args:
        values: float [batch, ...] on this replica.
        weights: same shape, for example a 0/1 mask; all ones by default.

    Returns:
        float32 scalar, the same on every replica.
    """
    values = tf.cast(values, tf.float32)
    weights = tf.ones_like(values) if weights is None else tf.cast(weights, tf.float32)
    numerator = global_sum(tf.reduce_sum(values * weights))
    denominator = global_sum(tf.reduce_sum(weights))
    return tf.math.divide_no_nan(numerator, denominator)


def update_copies(
    variable: tf.Variable, update: Callable[..., object], *arguments: tf.Tensor
) -> None:
    """Run ``update(copy, *arguments)`` on this worker's every copy of a mirrored variable.

    Each copy is updated with its own replica's arguments, and nothing is communicated: they
    must be equal on all replicas (gathered, or read from mirrored variables), or the copies
    diverge.

    Args:
        variable: mirrored or not; in replica context or out of it.
        update: changes the variable that it is given.
        arguments: tensors of this replica.
    """
    tf.distribute.get_strategy().extended.update(variable, update, args=arguments)
