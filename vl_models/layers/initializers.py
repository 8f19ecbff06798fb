"""Weight initialisations of CLIP and of the framework that CLIP's image tower was built in.

Keras gives equal values to equal shapes when one initializer object serves several weights,
so every function here returns a new object, and `fresh` makes one from a stored one.
"""

from __future__ import annotations

from typing import Any

import keras


def normal(stddev: float) -> keras.initializers.Initializer:
    """N(0, stddev²)."""
    return keras.initializers.RandomNormal(stddev=stddev)


def uniform_fan_in() -> keras.initializers.Initializer:
    """U(-1/√fan_in, 1/√fan_in): the default of linear and convolution layers in PyTorch."""
    return keras.initializers.VarianceScaling(1.0 / 3.0, mode="fan_in", distribution="uniform")


def get(initializer: Any, default: keras.initializers.Initializer) -> Any:
    """Deserialise an initializer argument of a layer; None gives ``default``."""
    return default if initializer is None else keras.initializers.get(initializer)


def fresh(initializer: keras.initializers.Initializer) -> keras.initializers.Initializer:
    """Return an initializer of the same kind whose values are drawn anew."""
    return initializer.__class__.from_config(initializer.get_config())
