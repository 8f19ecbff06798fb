"""Texts made of labels: templates filled with class names, and ids of the classes.

Filling a template with a class name is CLIP's way to turn a classifier's labels into texts
(Radford et al. 2021, section 3.1.4); UniCL trains on them (Yang et al. 2022, section 3).
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from vl_models.input.sampling import LABEL, TEMPLATE, draw_texts
from vl_models.row_random import stream_seed
from vl_models.text.normalize import normalize_queries

PLACE = "{}"  # in a template: where the class name goes
NO_LABEL = -1

# Ids made of a name are in [2**30, 2**31): the data's own ids are hardly that large.
_NAMED = 2**30


def fill_templates(templates: Sequence[str], labels: tf.Tensor) -> tf.Tensor:
    """Fill every template with every label; normalised like queries.

    Args:
        templates: T texts with one "{}" each.
        labels: string [B, K].

    Returns:
        string [B, K, T].
    """
    before, after = zip(*(template.split(PLACE) for template in templates), strict=True)
    filled = tf.constant(before) + labels[..., tf.newaxis] + tf.constant(after)
    return normalize_queries(filled)


def draw_label_texts(
    filled: tf.Tensor, lengths: tf.Tensor, count: int, seeds: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Draw one label of each row, evenly, and templates for it, without repetition.

    All texts of a row are of one label: the row has one `label_id`. A row with fewer
    templates than ``count`` repeats them.

    Args:
        filled: string [B, K, T] of `fill_templates`.
        lengths: int [B], how many labels each row has, at least 1.
        count: n, texts to draw.
        seeds: int32 [B, 2], of the rows.

    Returns:
        Index of the drawn label int32 [B], and the texts, string [B, n].
    """
    rows, width, templates = tf.unstack(tf.shape(filled))
    evenly = tf.ones([rows, width])
    which = draw_texts(evenly, lengths, 1, stream_seed(seeds, LABEL), 0.0)[:, 0]
    own = tf.gather(filled, which, batch_dims=1)
    order = draw_texts(
        tf.ones([rows, templates]),
        tf.fill([rows], templates),
        count,
        stream_seed(seeds, TEMPLATE),
        0.0,
    )
    return which, tf.gather(own, order, batch_dims=1)


def label_ids(ids: tf.RaggedTensor, texts: tf.RaggedTensor) -> tf.Tensor:
    """Ids of the labels of each row: the record's own, or else fingerprints of their names.

    A fingerprint (FarmHash of the normalised name, folded into [2**30, 2**31)) is the same in
    every record, run and source. Data should give ids for all labels or for none: a class
    that has an id in one record and only a name in another counts as two.

    Args:
        ids: int64 [B, (K)], as stored.
        texts: string [B, (K)], as stored.

    Returns:
        int32 [B, K], padded with -1; K is at least 1.
    """
    names = normalize_queries(texts.flat_values)
    named = texts.with_flat_values(tf.strings.to_hash_bucket_fast(names, _NAMED) + _NAMED)
    lengths = ids.row_lengths()
    width = tf.reduce_max(tf.concat([lengths, texts.row_lengths(), [1]], axis=0))
    shape = tf.stack([ids.nrows(), width])
    given = ids.to_tensor(NO_LABEL, shape=shape)
    made = named.to_tensor(NO_LABEL, shape=shape)
    return tf.cast(tf.where(lengths[:, tf.newaxis] > 0, given, made), tf.int32)


def label_names(ids: tf.RaggedTensor, texts: tf.RaggedTensor) -> tf.Tensor:
    """Names of the labels of each row, by which classes are told: texts, or else ids in digits.

    Args:
        ids: int64 [B, (K)], as stored.
        texts: string [B, (K)], as stored.

    Returns:
        string [B, K], padded with "".
    """
    numbers = ids.with_flat_values(tf.strings.as_string(ids.flat_values))
    width = tf.reduce_max(tf.concat([ids.row_lengths(), texts.row_lengths(), [0]], axis=0))
    shape = tf.stack([ids.nrows(), width])
    named = texts.row_lengths()[:, tf.newaxis] > 0
    return tf.where(named, texts.to_tensor("", shape=shape), numbers.to_tensor("", shape=shape))
