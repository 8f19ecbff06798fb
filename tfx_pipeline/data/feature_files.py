"""Named arrays from .npz and MATLAB files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vl_models.errors import UserError

_HDF5_MAGIC = b"\x89HDF"  # of MATLAB 7.3, at byte 512


@dataclass(frozen=True)
class NamedArray:
    """An array and where it comes from, for messages.

    Attributes:
        where: file and name of the array.
        values: the array; strings as an object array of str.
    """

    where: str
    values: np.ndarray


def read_array(files: Sequence[Path], key: str) -> NamedArray:
    """Read the array of this name from the one file that has it.

    Args:
        files: .npz files, or .mat files of MATLAB 5 to 7.3 (whose arrays are turned from
            MATLAB's order of dimensions).
        key: its name.

    Raises:
        UserError: no file has it, or several do; a file that cannot be read.
    """
    found, names = [], []
    for path in files:
        arrays = _names(path)
        names += [f"{name} ({path.name})" for name in arrays]
        if key in arrays:
            found.append(path)
    if len(found) != 1:
        problem = "No file has" if not found else f"{len(found)} files have"
        raise UserError(
            f"{problem} an array '{key}'. Arrays: {', '.join(sorted(names)) or 'none'}."
        )
    path = found[0]
    try:
        values = _read(path, key)
    except (OSError, ValueError, NotImplementedError) as error:
        raise UserError(f"{path}: array '{key}' cannot be read ({error}).") from error
    return NamedArray(f"{path}: array '{key}'", values)


def _names(path: Path) -> list[str]:
    """Names of the arrays of a file."""
    if not path.is_file():
        raise UserError(f"{path}: no such file.")
    try:
        if path.suffix == ".npz":
            with np.load(path) as arrays:
                return list(arrays.files)
        if path.suffix == ".mat" and _is_hdf5(path):
            import h5py

            with h5py.File(path) as file:
                return [name for name in file if not name.startswith("#")]
        if path.suffix == ".mat":
            import scipy.io

            return [name for name, _, _ in scipy.io.whosmat(str(path))]
    except Exception as error:  # every reader has errors of its own
        raise UserError(f"{path}: not a whole {path.suffix} file ({error}).") from error
    raise UserError(f"{path}: features are read from .npz and .mat files. Received: {path.suffix}")


def _read(path: Path, key: str) -> np.ndarray:
    if path.suffix == ".npz":
        with np.load(path) as arrays:
            return arrays[key]
    if not _is_hdf5(path):
        import scipy.io

        values = scipy.io.loadmat(str(path), variable_names=[key])[key]
        return _strings(values) if values.dtype.kind in "OUS" else _dense(values)
    import h5py

    with h5py.File(path) as file:
        return _from_hdf5(file, file[key])


def _from_hdf5(file: Any, item: Any) -> np.ndarray:
    """Return an array of MATLAB 7.3; cells are references, characters are numbers."""
    import h5py

    if isinstance(item, h5py.Group):
        raise ValueError("it is a structure or a sparse matrix; store a full array")
    kind = item.attrs.get("MATLAB_class", b"")
    kind = kind.decode() if isinstance(kind, bytes) else str(kind)
    values = item[()].T
    if kind == "cell":
        return np.array([_text(file[ref][()].T) for ref in values.ravel()], object)
    if kind == "char":
        return np.array([_text(row) for row in np.atleast_2d(values)], object)
    return values


def _text(characters: np.ndarray) -> str:
    return "".join(chr(int(c)) for c in np.ravel(characters)).strip()


def _strings(values: np.ndarray) -> np.ndarray:
    """Return a cell array of strings, or a matrix of characters that MATLAB padded with spaces."""

    def text(cell: Any) -> str:
        return str(np.ravel(cell)[0]).strip() if np.size(cell) else ""

    return np.array([text(cell) for cell in values.ravel()], object)


def _dense(values: Any) -> np.ndarray:
    return np.asarray(values.todense()) if hasattr(values, "todense") else np.asarray(values)


def _is_hdf5(path: Path) -> bool:
    with path.open("rb") as stream:
        stream.seek(512)
        at_512 = stream.read(4)
        stream.seek(0)
        return _HDF5_MAGIC in (at_512, stream.read(4))
