"""The newest outputs of a network with their labels: what the other networks are compared with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from vl_models.distribution import update_copies


@keras.saving.register_keras_serializable("vlsearch")
class LabelledBank(keras.layers.Layer):
    """A ring of rows; each holds vectors of several kinds and multi-hot labels.

    As large as the train split it is the memory bank of Li et al., "Self-Supervised Adversarial
    Hashing Networks for Cross-Modal Retrieval": after one pass it holds every item's newest
    outputs. Smaller, it holds the newest.

    Args:
      size: K, number of rows.
      widths: name of each vector → its width.
      labels: C.
    """

    released = False  # state of a training, see vl_models.weights.released

    def __init__(self, size: int, widths: Mapping[str, int], labels: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.size = size
        self.widths = dict(widths)
        self.num_labels = labels

    def build(self, input_shape: Any = None) -> None:
        """Create the state; no optimiser sees it."""
        self.rows = {
            name: self._state(name, (self.size, width), "float32")
            for name, width in {**self.widths, "label": self.num_labels}.items()
        }
        self.pointer = self._state("pointer", (), "int64")
        self.filled = self._state("filled", (), "int64")

    def call(self, inputs: Any) -> Any:
        """Return the inputs; a bank only keeps."""
        return inputs

    def read(self, name: str) -> tf.Tensor:
        """All rows of one kind ("label" is one), float32 [K, width], without gradient."""
        return tf.stop_gradient(tf.convert_to_tensor(self.rows[name]))

    def usable(self) -> tf.Tensor:
        """1 for rows that something was written to, else 0: float32 [K]."""
        filled = tf.convert_to_tensor(self.filled)
        return tf.cast(tf.range(self.size, dtype=tf.int64) < filled, tf.float32)

    def write(self, values: Mapping[str, tf.Tensor]) -> None:
        """Write the rows of one global batch over the oldest ones.

        All replicas must give the same, gathered values; of more than K rows the last K stay.

        Args:
          values: every kind, and "label": [G, width] each.
        """
        count = tf.shape(values["label"], out_type=tf.int64)[0]
        first = tf.maximum(count - self.size, 0)
        pointer = tf.convert_to_tensor(self.pointer)
        slots = (pointer + tf.range(first, count, dtype=tf.int64)) % self.size
        for name, variable in self.rows.items():
            new = tf.cast(values[name][first:], tf.float32)
            update_copies(variable.value, _write, new, slots)
        filled = tf.minimum(tf.convert_to_tensor(self.filled) + count, self.size)
        update_copies(self.pointer.value, _assign, (pointer + count) % self.size)
        update_copies(self.filled.value, _assign, filled)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {
            **super().get_config(),
            "size": self.size,
            "widths": self.widths,
            "labels": self.num_labels,
        }

    def _state(self, name: str, shape: tuple[int, ...], dtype: str) -> Any:
        return self.add_weight(
            name=name,
            shape=shape,
            initializer="zeros",
            trainable=False,
            dtype=dtype,
            autocast=False,
            aggregation="only_first_replica",
        )


def _write(copy: tf.Variable, values: tf.Tensor, slots: tf.Tensor) -> None:
    copy.scatter_nd_update(slots[:, None], values)


def _assign(copy: tf.Variable, value: tf.Tensor) -> None:
    copy.assign(value)
