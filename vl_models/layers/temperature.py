"""The learned temperature of a contrastive loss."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from vl_models.layers.configured import ConfiguredLayer


class Temperature(ConfiguredLayer):
    """Multiply cosines by exp(a), with a learned log-scale a.

    `clamp` bounds a after an optimiser update. Clipping in the forward pass would have no
    gradient at the bound: a scale that reached it could never come back.
    Source: Radford et al., "Learning Transferable Visual Models From Natural Language
    Supervision", section 2.5.

    Args:
        initial: initial temperature 1/exp(a), above 0; CLIP's 0.07.
        minimum_scale: lower bound of exp(a).
        maximum_scale: upper bound of exp(a); CLIP's 100.
    """

    def __init__(
        self,
        initial: float = 0.07,
        minimum_scale: float = 1.0,
        maximum_scale: float = 100.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not minimum_scale <= 1.0 / initial <= maximum_scale:
            raise ValueError(
                "The initial scale 1 / initial must lie between the bounds. Received: "
                f"initial={initial}, minimum_scale={minimum_scale}, maximum_scale={maximum_scale}"
            )
        self.initial = initial
        self.minimum_scale = minimum_scale
        self.maximum_scale = maximum_scale

    def build(self, input_shape: Any = None) -> None:
        """Create the log-scale, a float32 scalar."""
        self.log_scale = self.add_weight(
            name="log_scale",
            shape=(),
            initializer=keras.initializers.Constant(-math.log(self.initial)),
            dtype="float32",
            autocast=False,
            # `clamp` may be called by every replica; all hold the same value.
            aggregation="only_first_replica",
        )

    def call(self, cosines: Any) -> Any:
        """Scale cosines of any shape to logits, float32."""
        return ops.cast(cosines, "float32") * self.scale()

    def scale(self) -> Any:
        """exp(a), a float32 scalar with gradient."""
        return ops.exp(ops.convert_to_tensor(self.log_scale))

    def clamp(self) -> None:
        """Move the log-scale back between its bounds; call after each optimiser update."""
        self.log_scale.assign(
            ops.clip(self.log_scale, math.log(self.minimum_scale), math.log(self.maximum_scale))
        )
