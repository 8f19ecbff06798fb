"""Weights of another stage, run or shape as a starting point."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from pathlib import Path

import keras
import numpy as np

from vl_models.errors import UserError
from vl_models.training.checkpoint import assign_values, read_weights
from vl_models.training.config import WarmStartConfig
from vl_models.training.patterns import matches
from vl_models.training.resizing import resized


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


def _fitted(
    path: str, value: np.ndarray, shape: tuple[int, ...], config: WarmStartConfig
) -> np.ndarray:
    """The value, resized if a pattern says so; any other difference is left to be an error."""
    for pattern, kind in config.resize.items():
        same_rest = len(shape) == value.ndim >= 2 and shape[-1] == value.shape[-1]
        if matches(path, (pattern,)) and same_rest:
            return resized(value, shape[-2], kind)
    return value


def _renamed(name: str, prefixes: Mapping[str, str]) -> str:
    """Return the name with the longest matching prefix replaced."""
    for prefix in sorted(prefixes, key=len, reverse=True):
        if name.startswith(prefix):
            return prefixes[prefix] + name[len(prefix) :]
    return name
