"""Encoding in groups whose members are drawn anew: shuffled batch normalisation."""

from __future__ import annotations

from collections.abc import Callable

import keras
import tensorflow as tf

from vl_models.distribution import all_gather, replica_count, replica_index

Encode = Callable[[tf.Tensor], tf.Tensor]


def has_batch_statistics(layers: tuple[keras.layers.Layer, ...]) -> bool:
    """Whether the rows of a batch see each other: built layers with moving statistics."""
    return any("moving_mean" in v.path for layer in layers for v in layer.non_trainable_variables)


def encode_in_groups(encode: Encode, inputs: tf.Tensor, groups: int) -> tf.Tensor:
    """Encode contiguous groups of rows one by one: "virtual devices".

    Args:
        encode: [rows, ...] to [rows, D].
        inputs: [B, ...], B a multiple of ``groups``.
        groups: how many.

    Returns:
        [B, D], in the order of the inputs.

    Raises:
        ValueError: the rows cannot form groups of one size.
    """
    if groups == 1:
        return encode(inputs)
    if inputs.shape[0] is not None and inputs.shape[0] % groups:
        raise ValueError(
            "The batch of a replica must be a multiple of `virtual_devices`. "
            f"Received: {inputs.shape[0]} rows, virtual_devices={groups}"
        )
    return tf.concat([encode(part) for part in tf.split(inputs, groups)], axis=0)


def encode_shuffled(
    encode: Encode, inputs: tf.Tensor, seed: tf.Tensor, groups: int = 1
) -> tf.Tensor:
    """Encode rows in groups that are drawn from the global batch, and undo the shuffle.

    Batch normalisation lets the rows of a group see each other: a key that shares its group
    with its query could be told by the group's statistics. A group is one of the ``groups`` of
    a replica; with one group in all there is nothing to shuffle.
    Source: He et al., "Momentum Contrast for Unsupervised Visual Representation Learning",
    section 3.3.

    Args:
        encode: [rows, ...] to [rows, D].
        inputs: [B, ...] of this replica.
        seed: int32 [B, 2], the rows' seeds; the permutation follows from those of all rows.
        groups: groups per replica.

    Returns:
        [B, D] of this replica, in the order of the inputs.
    """
    if replica_count() * groups == 1:
        return encode(inputs)
    permutation = _permutation(all_gather(seed))
    shuffled = tf.gather(_gather_images(inputs), _own(permutation))
    encoded = all_gather(encode_in_groups(encode, shuffled, groups))
    return tf.gather(encoded, _own(tf.math.invert_permutation(permutation)))


def _permutation(seed: tf.Tensor) -> tf.Tensor:
    """Return a permutation of G rows, int32 [G], the same on all replicas."""
    draws = tf.random.stateless_uniform(
        tf.shape(seed)[:1], tf.reduce_sum(seed, axis=0), alg="philox"
    )
    return tf.argsort(draws, stable=True)


def _own(rows: tf.Tensor) -> tf.Tensor:
    """This replica's contiguous part of [G]."""
    share = tf.shape(rows)[0] // replica_count()
    return rows[replica_index() * share : (replica_index() + 1) * share]


def _gather_images(images: tf.Tensor) -> tf.Tensor:
    """`all_gather` of uint8: collectives do not know the type, and float16 holds 0 … 255."""
    if images.dtype != tf.uint8 or replica_count() == 1:
        return all_gather(images)
    return tf.cast(all_gather(tf.cast(images, tf.float16)), tf.uint8)
