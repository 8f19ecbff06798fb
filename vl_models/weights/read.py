"""Tensors of safetensors files, single or sharded, as float32 and without other frameworks."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import ml_dtypes  # noqa: F401 - makes NumPy know bfloat16
import numpy as np
import safetensors

from vl_models.errors import UserError

_PICKLES = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04")


@dataclass(frozen=True)
class StoredTensor:
    """Where a tensor lies, and its dtype (the file's name for it) and shape."""

    file: Path
    dtype: str
    shape: tuple[int, ...]


class TensorFiles(Mapping[str, StoredTensor]):
    """The tensors of one or more files by name; values are read when they are asked for.

    Args:
        paths: ``.safetensors`` files, all shards of one model, or an index
            (``….safetensors.index.json``) that names them.

    Raises:
        UserError: a file is missing, damaged, of another format, or a name occurs twice.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = [shard for path in paths for shard in _shards(Path(path))]
        self._tensors: dict[str, StoredTensor] = {}
        for path in self.paths:
            for name, tensor in _read_header(path).items():
                if name in self._tensors:
                    raise UserError(
                        f"The tensor '{name}' is in {self._tensors[name].file} and in {path}: "
                        "give the files of one model, each once."
                    )
                self._tensors[name] = tensor

    def __getitem__(self, name: str) -> StoredTensor:
        return self._tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def read(self, name: str) -> np.ndarray:
        """Values of one tensor as float32, whatever type they are stored in."""
        with safetensors.safe_open(self._tensors[name].file, "numpy") as file:
            return file.get_tensor(name).astype(np.float32)


def _shards(path: Path) -> list[Path]:
    """Return the files that a path means: itself, or those of an index."""
    if path.suffix != ".json":
        return [path]
    try:
        weight_map = json.loads(path.read_bytes())["weight_map"]
        names = sorted(set(weight_map.values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path} is not an index of safetensors shards (a JSON file with 'weight_map'): "
            f"{error!r}."
        ) from error
    shards = [path.parent / name for name in names]
    missing = [shard.name for shard in shards if not shard.is_file()]
    if missing:
        raise UserError(f"{path} names shards that are not beside it: {', '.join(missing)}.")
    return shards


def _read_header(path: Path) -> dict[str, StoredTensor]:
    """Names, types and shapes of a file's tensors, all checked against its size."""
    try:
        with path.open("rb") as start:
            if start.read(4).startswith(_PICKLES):
                raise UserError(
                    f"{path} is a PyTorch file, not safetensors. Where PyTorch is installed, "
                    "convert it once: state = torch.load(PATH, map_location='cpu') (torch.jit."
                    "load(PATH, 'cpu').state_dict() for OpenAI's), then safetensors.torch."
                    "save_file({k: v.contiguous() for k, v in state.items()}, 'model.safetensors')."
                )
        with safetensors.safe_open(path, "numpy") as file:
            slices = {name: file.get_slice(name) for name in file.offset_keys()}
            return {
                name: StoredTensor(path, part.get_dtype(), tuple(part.get_shape()))
                for name, part in slices.items()
            }
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from error
    except safetensors.SafetensorError as error:
        raise UserError(f"{path} is not a whole safetensors file: {error}.") from error
