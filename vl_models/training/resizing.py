"""Learned positions of one grid or length for another."""

from __future__ import annotations

import math

import numpy as np
import tensorflow as tf

from vl_models.choices import ResizeKind
from vl_models.errors import UserError

# Rows for the class token that follow those for offsets: as query, as key, and both.
_CLASS_ROWS = 3


def resized(values: np.ndarray, length: int, kind: ResizeKind) -> np.ndarray:
    """Bring positions to another length.

    Args:
        values: float [..., old length, width].
        length: the new length.
        kind: "grid" and "sequence", see `resize_positions`; "relative_grid" and
            "relative_sequence", see `resize_offsets`.

    Returns:
        float [..., length, width], of the same dtype.

    Raises:
        UserError: a length that is none of a grid or of offsets.
    """
    if values.shape[-2] == length:
        return values
    if kind in ("relative_grid", "relative_sequence"):
        return resize_offsets(values, length, kind)
    return resize_positions(values, length, kind)


def resize_positions(values: np.ndarray, length: int, kind: str) -> np.ndarray:
    """Interpolate learned position embeddings to another length.

    A grid is resized bicubically as an image (Dosovitskiy et al. 2021, "An Image is Worth
    16x16 Words", section 3.2); one leading class token, if the lengths are squares plus one,
    is kept. A sequence is resized linearly; positions keep their relative place.

    Args:
        values: float [..., old length, width].
        length: the new length.
        kind: "grid" or "sequence".

    Returns:
        float [..., length, width], of the same dtype.

    Raises:
        UserError: a grid whose length is no square, nor a square plus one.
    """
    old, width = values.shape[-2:]
    flat = values.reshape(-1, old, width).astype(np.float32)
    if kind == "sequence":
        image = tf.image.resize(flat[:, :, None], [length, 1], method="bilinear")
        resized = image.numpy().reshape(-1, length, width)
    else:
        tokens = next((t for t in (0, 1) if _is_square(old - t) and _is_square(length - t)), None)
        if tokens is None:
            raise UserError(
                "Positions of a grid must number a square, or a square plus one class token. "
                f"Received: lengths {old} and {length}."
            )
        side, new_side = math.isqrt(old - tokens), math.isqrt(length - tokens)
        grid = flat[:, tokens:].reshape(-1, side, side, width)
        image = tf.image.resize(grid, [new_side, new_side], method="bicubic", antialias=True)
        patches = image.numpy().reshape(-1, new_side**2, width)
        resized = np.concatenate([flat[:, :tokens], patches], axis=1)
    return resized.reshape(*values.shape[:-2], length, width).astype(values.dtype)


def resize_offsets(values: np.ndarray, length: int, kind: ResizeKind) -> np.ndarray:
    """Bring biases by relative position to another grid or text length.

    Near offsets matter most and keep their distance: those of the old grid are laid out in
    geometric progression, so that the farthest one falls on the farthest one of the new grid, and
    cubic splines give the values in between (Bao et al., "BEiT", the published program's
    fine-tuning at other sizes). Offsets of texts keep their meaning: fewer tokens take the near
    ones, and offsets that are new get the farthest one's. The rows of the class token are kept.

    Args:
        values: float [..., rows, width], see `vl_models.layers.relative_position_bias`.
        length: the new number of rows.
        kind: "relative_grid" for (2 g - 1)² rows of a g × g grid and three, "relative_sequence" for
            2 (L - 1) - 1 rows of L tokens and three.

    Returns:
        float [..., length, width], of the same dtype.

    Raises:
        UserError: a number of rows that is none of these.
    """
    old, new = (rows - _CLASS_ROWS for rows in (values.shape[-2], length))
    flat = values.reshape(-1, *values.shape[-2:]).astype(np.float32)
    offsets, kept = flat[:, :-_CLASS_ROWS], flat[:, -_CLASS_ROWS:]
    if kind == "relative_sequence":
        _check_odd(old, new, values.shape[-2], length, "2 (L - 1) + 2 for texts of L tokens")
        places = np.arange(new) - new // 2 + old // 2
        offsets = offsets[:, np.clip(places, 0, old - 1)]
    else:
        before, after = (math.isqrt(n) if _is_square(n) else 0 for n in (old, new))
        _check_odd(before, after, values.shape[-2], length, "(2 g - 1)² + 3 for g × g patches")
        offsets = _splines(offsets, before, after)
    whole = np.concatenate([offsets, kept], axis=1)
    return whole.reshape(*values.shape[:-2], length, -1).astype(values.dtype)


def _splines(offsets: np.ndarray, old: int, new: int) -> np.ndarray:
    """Offsets [N, old², W] at [N, new², W]."""
    from scipy.interpolate import make_interp_spline

    places, wanted = _geometric(old // 2, new // 2), np.arange(new) - new // 2
    degree = min(3, old - 1)
    grid = offsets.reshape(len(offsets), old, old, -1)
    for axis in (1, 2):
        grid = make_interp_spline(places, grid, k=degree, axis=axis)(wanted)
    return grid.reshape(len(offsets), new * new, -1)


def _geometric(steps: int, farthest: int) -> np.ndarray:
    """Places 0, ±1, ±(1 + q), …, ±(1 + q + … + q^(steps - 1)) = ±farthest."""
    from scipy.optimize import brentq

    if steps < 2:
        return np.arange(-steps, steps + 1) * max(1.0, farthest)

    def reach(ratio: float) -> float:
        return float(np.sum(ratio ** np.arange(steps)))

    ratio = 1.0
    if farthest > 1:
        ratio = brentq(lambda q: reach(q) - farthest, 0.0, float(farthest), xtol=1e-12)
    places = np.cumsum(ratio ** np.arange(steps))
    return np.concatenate([-places[::-1], [0.0], places])


def _check_odd(old: int, new: int, rows: int, length: int, form: str) -> None:
    if old < 1 or new < 1 or not old % 2 or not new % 2:
        raise UserError(
            f"Biases by relative position must have {form}. Received: {rows} and {length} rows."
        )


def _is_square(number: int) -> bool:
    return number > 0 and math.isqrt(number) ** 2 == number
