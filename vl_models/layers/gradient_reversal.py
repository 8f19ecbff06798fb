"""Gradient reversal: one minimisation that trains an adversary and the features against it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras
from keras import ops


def reversal_schedule(progress: float) -> float:
    """Strength λ = 2 / (1 + e^(-10 p)) - 1 at progress p in [0, 1] of the training.

    Source: Ganin et al., "Domain-Adversarial Training of Neural Networks", section 5.2.2.
    """
    return 2.0 / (1.0 + math.exp(-10.0 * progress)) - 1.0


@ops.custom_gradient
def _reverse(x: Any, strength: Any) -> tuple[Any, Callable[..., Any]]:
    def gradient(*args: Any, upstream: Any = None) -> tuple[Any, Any]:
        upstream = args[0] if upstream is None else upstream
        return -ops.cast(strength, upstream.dtype) * upstream, ops.zeros_like(strength)

    return x, gradient


@keras.saving.register_keras_serializable("vlsearch")
class GradientReversal(keras.layers.Layer):
    """Identity forward, gradient times -λ backward.

    λ is a variable, so that `assign` acts on compiled steps too; a Python number would
    freeze at its value of the first trace.
    Source: Ganin et al., "Domain-Adversarial Training of Neural Networks", section 4.2.

    Args:
      strength: initial λ.
    """

    def __init__(self, strength: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.strength = strength

    def build(self, input_shape: Any = None) -> None:
        """Create λ, a non-trainable float32 scalar."""
        self.current_strength = self.add_weight(
            name="strength",
            shape=(),
            initializer=keras.initializers.Constant(self.strength),
            trainable=False,
            dtype="float32",
            autocast=False,
            aggregation="only_first_replica",
        )

    def call(self, inputs: Any) -> Any:
        """Return ``inputs``; the gradient that comes back is reversed."""
        return _reverse(inputs, ops.convert_to_tensor(self.current_strength))

    def assign(self, strength: Any) -> None:
        """Set λ, for example to `reversal_schedule` of the progress."""
        self.current_strength.assign(strength)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {**super().get_config(), "strength": self.strength}
