"""Rows of earlier batches in variables; new ones are written over the oldest."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras
import tensorflow as tf

from vl_models.distribution import update_copies
from vl_models.layers.configured import ConfiguredLayer
from vl_models.layers.state import add_state


class RingBuffer(ConfiguredLayer):
    """State of K slots that no optimiser sees and that checkpoints hold.

    Attributes:
        pointer: the slot that is written next, int64 scalar.
        filled: number of slots that were written to, int64 scalar.

    Args:
        size: K, number of slots; need be no multiple of what is written at once.
    """

    released = False  # state of a training, see vl_models.weights.released

    def __init__(self, size: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.size = size

    def build(self, input_shape: Any = None) -> None:
        """Create pointer and counter; a subclass adds what a slot holds."""
        self.pointer = add_state(self, "pointer")
        self.filled = add_state(self, "filled")

    def call(self, inputs: Any) -> Any:
        """Return the inputs; a buffer only keeps."""
        return inputs

    def is_filled(self) -> tf.Tensor:
        """Return True for slots that something was written to, bool [K]."""
        return tf.range(self.size, dtype=tf.int64) < tf.convert_to_tensor(self.filled)

    def write_rows(self, rows: Iterable[tuple[keras.Variable, tf.Tensor]]) -> None:
        """Write the rows of one global batch, in replica context.

        All replicas must give the same, gathered values; of more than K rows the last K stay.

        Args:
            rows: variables [K, ...] with their new rows [G, ...].
        """
        rows = list(rows)
        count = tf.shape(rows[0][1], out_type=tf.int64)[0]
        first = tf.maximum(count - self.size, 0)
        pointer = tf.convert_to_tensor(self.pointer)
        slots = (pointer + tf.range(first, count, dtype=tf.int64)) % self.size
        for variable, values in rows:
            new = tf.cast(values[first:], variable.dtype)
            update_copies(variable.value, _write, new, slots)
        filled = tf.minimum(tf.convert_to_tensor(self.filled) + count, self.size)
        update_copies(self.pointer.value, _assign, (pointer + count) % self.size)
        update_copies(self.filled.value, _assign, filled)


def _write(copy: tf.Variable, values: tf.Tensor, slots: tf.Tensor) -> None:
    copy.scatter_update(tf.IndexedSlices(values, slots))


def _assign(copy: tf.Variable, value: tf.Tensor) -> None:
    copy.assign(value)
