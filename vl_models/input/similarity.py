"""Similar images in one batch: those that were clicked for the same queries.

Matching learns more from negatives that share much with the pair than from random ones (Byun et
al., "GRIT-VLP: Grouped Mini-batch Sampling for Efficient Vision and Language Pre-training", section
3.2). What is similar the click log says here.
"""

from __future__ import annotations

import tensorflow as tf

from vl_models import features as f
from vl_models.row_random import number


def min_hashes(records: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Smallest hash of each image's clicked queries under one random order of all queries.

    Two images have the same with the probability of their resemblance, the number of common queries
    over that of all (Broder, "On the resemblance and containment of documents", section 3).

    Args:
        records: serialised Examples, string [N].
        seed: int64 [2]; another one is another order.

    Returns:
        Non-negative int64 [N]; the largest number for an image without queries.
    """
    parsed = tf.io.parse_example(records, {f.QUERY_TEXT: tf.io.RaggedFeature(tf.string)})
    queries = parsed[f.QUERY_TEXT]
    fingerprints = tf.strings.to_hash_bucket_fast(queries.flat_values, 2**62)
    hashes = number(number(tf.cast(seed[0], tf.uint64), seed[1]), fingerprints)
    # Without the highest bit, which would be the sign.
    bits = tf.bitwise.right_shift(hashes, tf.constant(1, tf.uint64))
    return tf.reduce_min(queries.with_flat_values(tf.bitcast(bits, tf.int64)), axis=1)


def by_similarity(records: tf.data.Dataset, seed: tf.Tensor, buffer: int) -> tf.data.Dataset:
    """Reorder (row, record) so that similar images follow each other, within a buffer of them.

    Args:
        records: in random order, which those that are alike keep.
        seed: int64 [2], see `min_hashes`.
        buffer: records that are put in order together.
    """

    def ordered(rows: tf.Tensor, serialized: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        order = tf.argsort(min_hashes(serialized, seed), stable=True)
        return tf.gather(rows, order), tf.gather(serialized, order)

    return records.batch(buffer).map(ordered).unbatch()
