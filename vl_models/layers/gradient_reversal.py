"""Gradient reversal: one minimisation that trains an adversary and the features against it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf
from keras import ops

from vl_models.distribution import update_copies
from vl_models.layers.configured import ConfiguredLayer
from vl_models.layers.reversal_schedule import ReversalSchedule
from vl_models.layers.state import add_state


@ops.custom_gradient
def _reverse(x: Any, strength: Any) -> tuple[Any, Callable[..., Any]]:
    def gradient(*args: Any, upstream: Any = None) -> tuple[Any, Any]:
        upstream = args[0] if upstream is None else upstream
        return -ops.cast(strength, upstream.dtype) * upstream, ops.zeros_like(strength)

    return x, gradient


class GradientReversal(ConfiguredLayer):
    """Identity forward, gradient times -λ backward; λ follows a schedule.

    What λ depends on is variables, ``seen`` and ``training`` (int64 scalars, in instances): a
    Python number would freeze at its value of the first trace, and a checkpoint holds them.
    Source: Ganin et al., "Domain-Adversarial Training of Neural Networks", section 4.2.

    Args:
        schedule: a `ReversalSchedule`, or its values by name.
    """

    def __init__(
        self, schedule: ReversalSchedule | Mapping[str, Any] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.schedule = ReversalSchedule.model_validate(schedule or {})

    def build(self, input_shape: Any = None) -> None:
        """Create the counters."""
        self.seen = add_state(self, "seen")
        self.training = add_state(self, "training")

    def call(self, inputs: Any) -> Any:
        """Return ``inputs``; the gradient that comes back is reversed."""
        return _reverse(inputs, self.strength())

    def strength(self) -> Any:
        """λ now, a float32 scalar."""
        return self.schedule.strength(
            ops.convert_to_tensor(self.seen), ops.convert_to_tensor(self.training)
        )

    def count(self, instances: tf.Tensor) -> None:
        """Add the instances of one global batch, in replica context, equal on all replicas."""
        seen = tf.convert_to_tensor(self.seen) + tf.cast(instances, tf.int64)
        update_copies(self.seen.value, lambda copy, value: copy.assign(value), seen)

    def start(self, training: int) -> None:
        """Say how many instances the whole training has, before its first step."""
        self.training.assign(training)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor arguments."""
        return {**super().get_config(), "schedule": self.schedule.model_dump()}
