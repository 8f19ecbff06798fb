"""Serialised tf.Examples, as ClickExampleGen writes them, to the rows of a batch.

Everything but the decoding of images is computed for all rows at once: an operation costs
microseconds to start, and decoding a small image only 300.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from vl_models.input.config import SourceSpec
from vl_models.input.readers.base import Records, Rows
from vl_models.input.readers.table import readers_of
from vl_models.input.sampling import row_seed


def rows_function(
    spec: SourceSpec,
    seed: int,
    source_id: int,
    texts_per_image: int,
    log_q_offset: float = 0.0,
) -> Callable[[tf.Tensor, tf.Tensor, tf.Tensor], Rows]:
    """Return the function from serialised records to their part of the batch.

    Args:
        spec: what the source's rows hold.
        seed: seed of this source in this run.
        source_id: index of the source in the mixer.
        texts_per_image: n, texts drawn per image.
        log_q_offset: added to `image_log_q`: what makes it the log share of a batch's rows.

    Returns:
        A graph function of records string [B], rows int64 [B] and epoch int64 scalar to every
        key of the batch; texts are still strings, under the key "texts" [B·n], image-major.
    """
    readers = readers_of(spec)
    features: dict[str, object] = {}
    for reader in readers:
        features |= reader.features(spec)

    def to_rows(serialized: tf.Tensor, rows: tf.Tensor, epoch: tf.Tensor) -> Rows:
        parsed = tf.io.parse_example(serialized, features)
        records = Records(spec, parsed, rows, row_seed(seed, epoch, rows), texts_per_image)
        batch: Rows = {"source_id": tf.fill(tf.shape(rows), tf.constant(source_id, tf.int32))}
        for reader in readers:
            batch |= reader.read(records)
        batch["image_log_q"] += log_q_offset
        return batch

    return to_rows
