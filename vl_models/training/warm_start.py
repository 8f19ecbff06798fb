"""Weights of another stage, run or shape as a starting point."""

from __future__ import annotations

import difflib
import math
from collections.abc import Collection, Mapping
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from vl_models.errors import UserError
from vl_models.training.checkpoint import assign_values, read_weights
from vl_models.training.config import WarmStartConfig
from vl_models.training.patterns import matches


def warm_start(
    variables: Mapping[str, keras.Variable],
    config: WarmStartConfig,
    released: Collection[str] | None = None,
) -> list[str]:
    """Load what the configuration names; everything else keeps its initial value.

    Args:
        variables: the model's, by path.
        config: where from, which, under which names, and what is resized.
        released: paths of those that a release has; the others, such as queues, may be missing.
            All are wanted by default.

    Returns:
        Paths of the variables that were loaded.

    Raises:
        UserError: nothing to load, a variable that the file lacks, or another shape.
    """
    source = Path(config.source)
    found = {_renamed(name, config.map): value for name, value in read_weights(source).items()}
    wanted = {
        path: variable
        for path, variable in variables.items()
        if matches(path, config.only) and (released is None or path in released or path in found)
    }
    if not wanted:
        raise UserError(f"Warm start: no variable of the model matches {list(config.only)}.")
    values = {}
    for path, variable in wanted.items():
        if path not in found:
            near = difflib.get_close_matches(path, found, n=1, cutoff=0.0)
            raise UserError(
                f"Warm start: {source} lacks '{path}'; nearest name (after `map`): "
                f"{near[0] if near else 'none, it is empty'}. Rename with `map`, or restrict "
                "`only`."
            )
        values[path] = _fitted(path, found[path], tuple(variable.shape), config)
    assign_values(wanted, values, f"Warm start from {source}")
    return list(wanted)


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
    if old == length:
        return values
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


def _fitted(
    path: str, value: np.ndarray, shape: tuple[int, ...], config: WarmStartConfig
) -> np.ndarray:
    """The value, resized if a pattern says so; any other difference is left to be an error."""
    for pattern, kind in config.resize.items():
        same_rest = len(shape) == value.ndim >= 2 and shape[-1] == value.shape[-1]
        if matches(path, (pattern,)) and same_rest:
            return resize_positions(value, shape[-2], kind)
    return value


def _renamed(name: str, prefixes: Mapping[str, str]) -> str:
    """Return the name with the longest matching prefix replaced."""
    for prefix in sorted(prefixes, key=len, reverse=True):
        if name.startswith(prefix):
            return prefixes[prefix] + name[len(prefix) :]
    return name


def _is_square(number: int) -> bool:
    return number > 0 and math.isqrt(number) ** 2 == number
