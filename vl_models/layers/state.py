"""Variables of layers that no optimiser sees and that checkpoints hold."""

from __future__ import annotations

from typing import Any

import keras


def add_state(
    layer: keras.layers.Layer,
    name: str,
    shape: Any = (),
    initializer: Any = "zeros",
    dtype: str = "int64",
) -> Any:
    """Create a variable of ``layer`` that every replica assigns the same value."""
    return layer.add_weight(
        name=name,
        shape=shape,
        initializer=initializer,
        trainable=False,
        dtype=dtype,
        autocast=False,
        aggregation="only_first_replica",
    )
