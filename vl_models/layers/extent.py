"""The part of a square that a picture with a margin fills."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf


def within(extent: Any, size: Sequence[int]) -> Any:
    """Return True for the places of a grid that a part from its top left corner fills.

    Args:
        extent: int32 [B, 2], rows and columns of the part.
        size: rows and columns of the grid.

    Returns:
        bool [B, rows, columns].
    """
    rows, columns = tf.meshgrid(tf.range(size[0]), tf.range(size[1]), indexing="ij")
    return (rows < extent[:, 0, None, None]) & (columns < extent[:, 1, None, None])
