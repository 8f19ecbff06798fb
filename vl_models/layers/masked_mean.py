"""Means of sequences over the tokens that a mask leaves."""

from __future__ import annotations

from typing import Any

from keras import ops


def masked_mean(x: Any, mask: Any = None) -> Any:
    """Mean of [B, L, W] over L, in float32; zero where the mask leaves nothing.

    Args:
        x: [B, L, W].
        mask: bool [B, L], True = counts; all by default.

    Returns:
        [B, W] in the dtype of ``x``.
    """
    wide = ops.cast(x, "float32")
    if mask is None:
        return ops.cast(ops.mean(wide, axis=1), x.dtype)
    weights = ops.cast(mask, "float32")
    total = ops.sum(wide * weights[:, :, None], axis=1)
    count = ops.maximum(ops.sum(weights, axis=1, keepdims=True), 1.0)
    return ops.cast(total / count, x.dtype)
