"""Atomic checkpoints: a folder per step, complete or not there.

``step-0000001000/`` holds ``weights.safetensors`` (keys are variable paths), ``optimizer.
safetensors`` (slots) and ``state.json`` (everything that is not a tensor, and the size and
SHA-256 of the other files, by which a damaged checkpoint is recognised).
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import safetensors.numpy

from vl_models.errors import UserError
from vl_models.training.config import RUN_FORMAT

WEIGHTS = "weights.safetensors"
OPTIMIZER = "optimizer.safetensors"
STATE = "state.json"

logger = logging.getLogger(__name__)


class OtherFormatError(UserError):
    """A checkpoint that another version of vlsearch wrote."""


@dataclass(frozen=True)
class Checkpoint:
    """What one checkpoint holds, in memory."""

    step: int
    weights: dict[str, np.ndarray]
    optimizer: dict[str, np.ndarray]
    state: dict[str, Any]


def save_checkpoint(folder: Path, checkpoint: Checkpoint, keep: int) -> Path:
    """Write a checkpoint under a temporary name, rename it, and delete the oldest.

    Args:
        folder: holds all checkpoints of the run; made if needed.
        checkpoint: what to write.
        keep: how many to keep, this one included.

    Returns:
        The folder of the new checkpoint.
    """
    final = folder / f"step-{checkpoint.step:010d}"
    temporary = folder / f".{final.name}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    files = {}
    for name, tensors in ((WEIGHTS, checkpoint.weights), (OPTIMIZER, checkpoint.optimizer)):
        data = safetensors.numpy.save({k: np.asarray(v, order="C") for k, v in tensors.items()})
        _write(temporary / name, data)
        files[name] = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    state = {"format": RUN_FORMAT, "step": checkpoint.step, "files": files, **checkpoint.state}
    _write(temporary / STATE, json.dumps(state, indent=1).encode())
    if final.exists():  # a damaged one of the same step, passed over while resuming
        shutil.rmtree(final)
    temporary.replace(final)
    _sync_folder(folder)
    for old in checkpoint_folders(folder)[keep:]:
        shutil.rmtree(old)
    return final


def checkpoint_folders(folder: Path) -> list[Path]:
    """Folders of the checkpoints, newest first."""
    return sorted(folder.glob("step-*"), reverse=True)


def load_checkpoint(path: Path) -> Checkpoint:
    """Read one checkpoint and verify its checksums.

    Raises:
        OtherFormatError: another version wrote it.
        UserError: it is damaged or incomplete.
    """
    try:
        state = json.loads((path / STATE).read_bytes())
        if (found := state.get("format", 1)) != RUN_FORMAT:
            raise OtherFormatError(
                f"Checkpoint {path} was written by another version of vlsearch (format {found}; "
                f"this version reads {RUN_FORMAT}): variables and settings have other names, so it "
                "cannot be continued. Start a new run; its weights can be a warm start of that "
                f"(train.warm_start.from: {path / WEIGHTS}, with map for paths that changed)."
            )
        tensors = {}
        for name in (WEIGHTS, OPTIMIZER):
            data = (path / name).read_bytes()
            expected = state["files"][name]
            if len(data) != expected["size"]:
                raise UserError(
                    f"Checkpoint {path} is damaged: {name} has {len(data)} bytes, "
                    f"{expected['size']} were written."
                )
            if hashlib.sha256(data).hexdigest() != expected["sha256"]:
                raise UserError(f"Checkpoint {path} is damaged: the checksum of {name} is wrong.")
            tensors[name] = safetensors.numpy.load(data)
    except (OSError, json.JSONDecodeError, KeyError) as error:
        raise UserError(f"Checkpoint {path} is damaged or incomplete: {error!r}.") from error
    return Checkpoint(state["step"], tensors[WEIGHTS], tensors[OPTIMIZER], state)


def latest_checkpoint(folder: Path) -> Checkpoint | None:
    """Return the newest checkpoint that is whole; damaged ones are passed over with a warning.

    Returns:
        None if there is no checkpoint at all.

    Raises:
        OtherFormatError: another version wrote the newest one.
        UserError: there are checkpoints, but all are damaged.
    """
    folders = checkpoint_folders(folder)
    for path in folders:
        try:
            return load_checkpoint(path)
        except OtherFormatError:
            raise
        except UserError as error:
            logger.warning("%s Trying the one before.", error)
    if folders:
        raise UserError(
            f"No checkpoint in {folder} is whole ({len(folders)} damaged). "
            "Delete them to start from the beginning, or restore one from a copy."
        )
    return None


def read_weights(path: Path) -> dict[str, np.ndarray]:
    """Weights by variable path, from a run folder, a checkpoint or a safetensors file.

    Args:
        path: of a run its folder, that of `vlsearch train` or the trainer's within it.

    Raises:
        UserError: none of these, or damaged.
    """
    if path.is_file():
        try:
            return safetensors.numpy.load_file(path)
        except (OSError, safetensors.SafetensorError) as error:
            raise UserError(f"{path} is not a whole safetensors file: {error}.") from error
    if (path / STATE).is_file():
        return load_checkpoint(path).weights
    for trainers in (path, path / "training"):
        if checkpoint := latest_checkpoint(trainers / "checkpoints"):
            return checkpoint.weights
    raise UserError(f"No weights at {path}: not a run folder, checkpoint or safetensors file.")


def variable_values(variables: Mapping[str, keras.Variable]) -> dict[str, np.ndarray]:
    """Return current values by key; for mirrored variables, the first replica's."""
    return {key: np.asarray(variable.value.numpy()) for key, variable in variables.items()}


def assign_values(
    variables: Mapping[str, keras.Variable], values: Mapping[str, np.ndarray], where: str
) -> None:
    """Assign every variable its value, by key.

    Args:
        variables: all of them must be among the values.
        values: may hold more.
        where: what the values come from, for messages.

    Raises:
        UserError: a value is missing or has another shape.
    """
    missing = [key for key in variables if key not in values]
    if missing:
        raise UserError(
            f"{where} lacks {len(missing)} of {len(variables)} variables: {_some(missing)}. "
            f"It holds: {_some(values)}. The model or its optimisers are not the same."
        )
    for key, variable in variables.items():
        value = values[key]
        if tuple(value.shape) != tuple(variable.shape):
            raise UserError(
                f"{where}: '{key}' has shape {list(value.shape)}, "
                f"the model's has {list(variable.shape)}."
            )
    for key, variable in variables.items():
        variable.assign(values[key])


def by_path(variables: Iterable[keras.Variable]) -> dict[str, keras.Variable]:
    """Variables by path.

    Raises:
        UserError: two variables share a path, so they could not be told apart in a file.
    """
    result: dict[str, keras.Variable] = {}
    for variable in variables:
        if variable.path in result and result[variable.path] is not variable:
            raise UserError(
                f"Two variables have the path '{variable.path}': give their layers explicit, "
                "different names."
            )
        result[variable.path] = variable
    return result


def _some(names: Iterable[str], count: int = 5) -> str:
    names = list(names)
    return ", ".join(names[:count]) + (", …" if len(names) > count else "")


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Make the rename itself survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
