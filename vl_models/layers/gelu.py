"""GELU, exact and as in CLIP (Hendrycks & Gimpel, "Gaussian Error Linear Units", section 2)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

_SQRT_HALF = math.sqrt(0.5)
_DENSITY_AT_ZERO = 1.0 / math.sqrt(2.0 * math.pi)


@keras.saving.register_keras_serializable("vlsearch")
def exact_gelu(x: Any) -> Any:
    """Compute x·Φ(x) with the exact normal distribution function.

    Computed in float32 with its own gradient, which uses the distribution function of the
    forward pass again: erf is the expensive part, and slow in bfloat16 on CPUs.

    Args:
        x: float tensor of any shape.

    Returns:
        Tensor of the shape and dtype of ``x``.
    """

    @ops.custom_gradient
    def compute(x: Any) -> tuple[Any, Callable[..., Any]]:
        wide = ops.cast(x, "float32")
        distribution = 0.5 + 0.5 * ops.erf(wide * _SQRT_HALF)

        def gradient(*args: Any, upstream: Any = None) -> Any:
            upstream = args[0] if upstream is None else upstream
            density = _DENSITY_AT_ZERO * ops.exp(-0.5 * ops.square(wide))
            slope = distribution + wide * density
            return ops.cast(ops.cast(upstream, "float32") * slope, x.dtype)

        return ops.cast(wide * distribution, x.dtype), gradient

    return compute(x)


@keras.saving.register_keras_serializable("vlsearch")
def quick_gelu(x: Any) -> Any:
    """Compute x·sigmoid(1.702 x), CLIP's activation; dtype and shape of ``x``."""
    return x * ops.sigmoid(1.702 * x)


ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "gelu": exact_gelu,
    "quick_gelu": quick_gelu,
    "relu": keras.activations.relu,
}


def get_activation(name: str) -> Callable[[Any], Any]:
    """Look up an activation by its configured name.

    Raises:
        ValueError: if there is none of that name.
    """
    if name not in ACTIVATIONS:
        raise ValueError(
            f"`activation` must be one of {sorted(ACTIVATIONS)}. Received: activation={name!r}"
        )
    return ACTIVATIONS[name]
