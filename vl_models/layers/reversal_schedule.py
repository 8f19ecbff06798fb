"""How strong a gradient reversal is, by the instances that training has seen."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from vl_models.strict_config import StrictConfig


class ReversalSchedule(StrictConfig):
    """λ as a function of n, the number of instances seen so far; all reach ``maximum``.

    ==========  ==========================================================================
    kind        λ / maximum
    ==========  ==========================================================================
    dann        2 / (1 + e^(-γ p)) - 1 at progress p = n / instances of the whole training
                (Ganin et al., "Domain-Adversarial Training of Neural Networks", section
                5.2.2)
    dgrl        the same, but p = n / ``instances``: a longer training does not delay it
    warmup      min(1, n / ``instances``)
    constant    1
    ==========  ==========================================================================

    Attributes:
        kind: see the table.
        maximum: the strength at the end.
        gamma: γ, how steeply "dann" and "dgrl" rise.
        instances: the scale of "dgrl" and "warmup", in instances (rows of batches).
    """

    kind: Literal["dann", "dgrl", "warmup", "constant"] = "dann"
    maximum: NonNegativeFloat = 1.0
    gamma: PositiveFloat = 10.0
    instances: PositiveInt | None = Field(default=None)

    @model_validator(mode="after")
    def _scale_where_it_counts(self) -> ReversalSchedule:
        counted = self.kind in ("dgrl", "warmup")
        if counted != (self.instances is not None):
            needed = "needs" if counted else "takes no"
            raise ValueError(f"kind '{self.kind}' {needed} instances")
        return self

    def strength(self, seen: Any, training: Any) -> Any:
        """λ, a float32 scalar.

        Args:
            seen: n, a scalar.
            training: instances of the whole training, a scalar; "dann" alone asks for it.
        """
        from keras import ops  # Configurations are read without Keras.

        if self.kind == "constant":
            return ops.convert_to_tensor(self.maximum, "float32")
        scale = training if self.instances is None else self.instances
        progress = ops.cast(seen, "float32") / ops.maximum(ops.cast(scale, "float32"), 1.0)
        progress = ops.minimum(progress, 1.0) if self.kind in ("dann", "warmup") else progress
        if self.kind == "warmup":
            return self.maximum * progress
        return self.maximum * (2.0 * ops.sigmoid(self.gamma * progress) - 1.0)
