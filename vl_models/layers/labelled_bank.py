"""The newest outputs of a network with their labels: what the other networks are compared with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from vl_models.layers.ring_buffer import RingBuffer
from vl_models.layers.state import add_state


class LabelledBank(RingBuffer):
    """A ring of rows; each holds vectors of several kinds and multi-hot labels.

    As large as the train split it is the memory bank of Li et al., "Self-Supervised Adversarial
    Hashing Networks for Cross-Modal Retrieval": after one pass it holds every item's newest
    outputs. Smaller, it holds the newest.

    Args:
        size: K, number of rows.
        widths: name of each vector → its width.
        labels: C.
    """

    def __init__(self, size: int, widths: Mapping[str, int], labels: int, **kwargs: Any) -> None:
        super().__init__(size, **kwargs)
        self.widths = dict(widths)
        self.labels = labels

    def build(self, input_shape: Any = None) -> None:
        """Create the state; no optimiser sees it."""
        super().build(input_shape)
        self.rows = {
            name: add_state(self, name, (self.size, width), "zeros", "float32")
            for name, width in {**self.widths, "label": self.labels}.items()
        }

    def read(self, name: str) -> tf.Tensor:
        """All rows of one kind ("label" is one), float32 [K, width], without gradient."""
        return tf.stop_gradient(tf.convert_to_tensor(self.rows[name]))

    def usable(self) -> tf.Tensor:
        """1 for rows that something was written to, else 0: float32 [K]."""
        return tf.cast(self.is_filled(), tf.float32)

    def write(self, values: Mapping[str, tf.Tensor]) -> None:
        """Write the rows of one global batch over the oldest ones.

        All replicas must give the same, gathered values; of more than K rows the last K stay.

        Args:
            values: every kind, and "label": [G, width] each.
        """
        self.write_rows((variable, values[name]) for name, variable in self.rows.items())
