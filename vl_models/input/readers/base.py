"""What a reader is, and what readers share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import tensorflow as tf

from vl_models.input.config import SourceSpec
from vl_models.input.records import row_place

Rows = dict[str, tf.Tensor]

# Hashes stay below this, so that -1 can pad.
_HASH_RANGE = 2**62


@dataclass(frozen=True)
class Records:
    """The records of one batch, as readers see them.

    Attributes:
        spec: of the source.
        parsed: the features that the readers asked for, by name.
        rows: int64 [B], the stable indices of the Examples; B is static.
        seeds: int32 [B, 2], all randomness of the rows.
        texts_per_image: n, texts drawn per image.
    """

    spec: SourceSpec
    parsed: Rows
    rows: tf.Tensor
    seeds: tf.Tensor
    texts_per_image: int

    @property
    def size(self) -> int:
        """Number of rows, B."""
        return self.rows.shape[0]

    def check(self, good: tf.Tensor, message: str) -> tf.Operation:
        """Return an assertion that names shard and record of the first row that is not good."""
        row = self.rows[tf.argmin(tf.cast(good, tf.int32))]
        where = [f"{message}: shard, record", *row_place(row)]
        return tf.debugging.Assert(tf.reduce_all(good), where)


@dataclass(frozen=True)
class Reader:
    """How some keys of the batch are made of Examples.

    Attributes:
        features: which features of the Examples it reads, as `tf.io.parse_example` takes them.
        read: makes the keys.
    """

    features: Callable[[SourceSpec], dict[str, object]]
    read: Callable[[Records], Rows]


def fingerprint(strings: tf.Tensor) -> tf.Tensor:
    """Stable non-negative int64 fingerprints (FarmHash) of strings."""
    return tf.strings.to_hash_bucket_fast(strings, _HASH_RANGE)


def multi_hot(names: tf.Tensor, classes: Sequence[str]) -> tf.Tensor:
    """Which of C classes are among the names of each row, string [B, K]: float32 [B, C]."""
    matches = names[:, :, tf.newaxis] == tf.constant(classes)
    return tf.cast(tf.reduce_any(matches, axis=1), tf.float32)
