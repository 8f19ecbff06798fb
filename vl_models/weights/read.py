"""Tensors of safetensors files, single or sharded, as float32 and without other frameworks.

The format: 8 bytes little-endian header length, a JSON header ``{name: {dtype, shape,
data_offsets}}``, then the values, row by row, little-endian.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vl_models.errors import UserError

# How the values of a type lie in the file; BF16 is the upper half of a float32.
_STORED = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "<u2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "i1",
    "U8": "u1",
    "BOOL": "?",
}
_PICKLES = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04")


@dataclass(frozen=True)
class StoredTensor:
    """Where a tensor lies, and its dtype (the file's name for it) and shape."""

    file: Path
    dtype: str
    shape: tuple[int, ...]
    offset: int


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
        tensor = self._tensors[name]
        count = math.prod(tensor.shape)
        if count == 0:
            return np.zeros(tensor.shape, np.float32)
        stored = np.memmap(
            tensor.file, np.dtype(_STORED[tensor.dtype]), "r", tensor.offset, (count,)
        )
        if tensor.dtype == "BF16":
            values = (stored.astype("<u4") << 16).view(np.float32)
        else:
            values = stored.astype(np.float32)
        return values.reshape(tensor.shape)


def _shards(path: Path) -> list[Path]:
    """The files that a path means: itself, or those of an index."""
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
    """Names, types, shapes and places of a file's tensors, all checked against its size."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(8)
            length = int.from_bytes(start, "little")
            if start[:4] == _PICKLES[0] or start[:2] in _PICKLES[1:]:
                raise UserError(
                    f"{path} is a PyTorch file, not safetensors. Where PyTorch is installed, "
                    "convert it once: state = torch.load(PATH, map_location='cpu') (torch.jit."
                    "load(PATH, 'cpu').state_dict() for OpenAI's), then safetensors.torch."
                    "save_file({k: v.contiguous() for k, v in state.items()}, 'model.safetensors')."
                )
            if len(start) < 8 or length > size - 8:
                raise UserError(f"{path} is not a whole safetensors file: it ends too early.")
            header = json.loads(file.read(length))
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path} is not a safetensors file: its header is no JSON.") from error
    return {
        name: _checked(path, name, entry, 8 + length, size)
        for name, entry in header.items()
        if name != "__metadata__"
    }


def _checked(path: Path, name: str, entry: Any, data: int, size: int) -> StoredTensor:
    try:
        dtype, shape = entry["dtype"], tuple(int(side) for side in entry["shape"])
        start, end = entry["data_offsets"]
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} is damaged: its entry for '{name}' is incomplete.") from error
    if dtype not in _STORED:
        raise UserError(
            f"{path}: '{name}' is stored as {dtype}, which cannot be read. Convert it to one of "
            f"{', '.join(_STORED)}."
        )
    if end - start != math.prod(shape) * np.dtype(_STORED[dtype]).itemsize or data + end > size:
        raise UserError(f"{path} is damaged or incomplete: the values of '{name}' do not fit.")
    return StoredTensor(path, dtype, shape, data + start)
