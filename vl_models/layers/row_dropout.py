"""Dropout of units and of whole branches, drawn by the rows' seeds.

Every other randomness of a row comes from its seed, too, so that a resumed training, and one on
more replicas, drops the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from vl_models.row_random import draw_uniform, stream_seed


def drop_units(x: Any, rate: float, seeds: Any, stream: int) -> Any:
    """Set units of each row to 0 with probability ``rate``, and scale the others up.

    Source: Srivastava et al., "Dropout: A Simple Way to Prevent Neural Networks from Overfitting".

    Args:
        x: [B, ...], of static shape but for B.
        rate: in [0, 1).
        seeds: int32 [B, 2] of the rows.
        stream: another one for every place of a network.

    Returns:
        The shape and dtype of ``x``.

    Raises:
        ValueError: there is something to drop, but no seeds to draw it by.
    """
    if not rate:
        return x
    return _drop(x, rate, seeds, stream, x.shape[1:])


def drop_path(x: Any, rate: float, seeds: Any, stream: int) -> Any:
    """Set whole rows to 0 with probability ``rate``, and scale the others up.

    Source: Huang et al., "Deep Networks with Stochastic Depth", section 3.

    Args:
        x: [B, ...], what a residual branch adds.
        rate: in [0, 1).
        seeds: int32 [B, 2] of the rows.
        stream: another one for every place of a network.

    Returns:
        The shape and dtype of ``x``.

    Raises:
        ValueError: there is something to drop, but no seeds to draw it by.
    """
    if not rate:
        return x
    return _drop(x, rate, seeds, stream, [1] * (len(x.shape) - 1))


def _drop(x: Any, rate: float, seeds: Any, stream: int, shape: Sequence[int]) -> Any:
    """Drop parts of ``shape`` of each row."""
    if seeds is None:
        raise ValueError("Dropout draws by the rows' `seeds`. Received: seeds=None")
    drawn = draw_uniform(stream_seed(seeds, stream), math.prod(shape))
    kept = tf.cast(drawn >= rate, x.dtype) / (1.0 - rate)
    return x * tf.reshape(kept, [-1, *shape])
