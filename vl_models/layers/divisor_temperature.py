"""ALIGN's temperature: a positive number that divides the cosines."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from vl_models.layers.configured import ConfiguredLayer


class DivisorTemperature(ConfiguredLayer):
    """Divide cosines by a learned σ, not its exponential.

    Gradient steps on σ itself may reach 0 or less, so `clamp` bounds it after each update.
    Source: Jia et al., "Scaling Up Visual and Vision-Language Representation Learning With
    Noisy Text Supervision", equations 1 and 2.

    Args:
        initial: where σ starts; 1 in the public port of ALIGN.
        minimum: lower bound of σ, above 0.
    """

    def __init__(self, initial: float = 1.0, minimum: float = 1e-3, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not 0.0 < minimum <= initial:
            raise ValueError(
                "`minimum` must be above 0 and at most `initial`. "
                f"Received: initial={initial}, minimum={minimum}"
            )
        self.initial = initial
        self.minimum = minimum

    def build(self, input_shape: Any = None) -> None:
        """Create σ, a float32 scalar."""
        self.sigma = self.add_weight(
            name="sigma",
            shape=(),
            initializer=keras.initializers.Constant(self.initial),
            dtype="float32",
            autocast=False,
            # `clamp` may be called by every replica; all hold the same value.
            aggregation="only_first_replica",
        )

    def call(self, cosines: Any) -> Any:
        """Scale cosines of any shape to logits, float32."""
        return ops.cast(cosines, "float32") * self.scale()

    def scale(self) -> Any:
        """1 / σ, a float32 scalar with gradient."""
        return 1.0 / ops.convert_to_tensor(self.sigma)

    def clamp(self) -> None:
        """Move σ back above its bound; call after each optimiser update."""
        self.sigma.assign(ops.maximum(self.sigma, self.minimum))
