"""A value that is measured in a step and read after it."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from vl_models.distribution import update_copies
from vl_models.layers.configured import ConfiguredLayer
from vl_models.layers.state import add_state


class Meter(ConfiguredLayer):
    """One float32 number, NaN before the first record."""

    released = False  # state of a training, see vl_models.weights.released

    def build(self, input_shape: Any = None) -> None:
        """Create the variable."""
        unknown = keras.initializers.Constant(float("nan"))
        self.value = add_state(self, "value", (), unknown, "float32")

    def call(self, inputs: Any) -> Any:
        """Return the inputs; a meter only watches."""
        return inputs

    def record(self, value: tf.Tensor) -> None:
        """Keep a scalar, in replica context; it must be equal on all replicas."""
        update_copies(self.value.value, lambda copy, new: copy.assign(new), value)

    def read(self) -> tf.Tensor:
        """Return the number, a float32 scalar."""
        return tf.convert_to_tensor(self.value)
