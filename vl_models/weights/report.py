"""What an import did, as numbers, lines and a table."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import yaml
from rich.table import Table

from vl_models.terminal import cell
from vl_models.weights.read import TensorFiles

Status = Literal["imported", "cropped", "other length", "left out", "missing"]

_BLOCK = re.compile(r"/block_\d+/")
_NUMBER = re.compile(r"\.\d+\.")
_WORDS = {
    "imported": "imported",
    "cropped": "cropped",
    "other length": "another length",
    "left out": "left out: initial value",
    "missing": "initial value",
}


@dataclass(frozen=True)
class ImportedVariable:
    """One variable of the model and where its value comes from.

    ``names`` are the tensors of the file, ``stored`` their shapes; empty if there are none.
    """

    path: str
    shape: tuple[int, ...]
    status: Status
    names: tuple[str, ...] = ()
    stored: tuple[tuple[int, ...], ...] = ()
    note: str = ""


@dataclass
class ImportResult:
    """Values by variable path and how they came about.

    Attributes:
        layout: name of the layout.
        values: float32, as they are written.
        entries: all variables of the model, in its order.
        unmatched: tensors of the file that have no place in the model.
        resize: kind of interpolation by path, for values of another length.
        warnings: what no tensor tells and the configuration says otherwise.
    """

    layout: str
    values: dict[str, np.ndarray] = field(default_factory=dict)
    entries: list[ImportedVariable] = field(default_factory=list)
    unmatched: list[str] = field(default_factory=list)
    resize: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def count(self, status: Status) -> int:
        """Return the number of variables of that status."""
        return sum(entry.status == status for entry in self.entries)

    def only(self) -> list[str]:
        """Patterns that cover the values and nothing else, by layer where a layer is whole."""
        patterns: dict[str, None] = {}
        for entry in self.entries:
            if entry.path not in self.values:
                continue
            layer = entry.path.split("/")[0] + "/"
            whole = all(e.path in self.values for e in self.entries if e.path.startswith(layer))
            patterns[f"{layer}*" if whole else entry.path] = None
        return list(patterns)

    def warm_start(self, source: str) -> str:
        """Return the part of an experiment that starts from the file, as YAML."""
        settings: dict[str, object] = {"from": source}
        if len(self.values) < len(self.entries):
            settings["only"] = self.only()
        if self.resize:
            settings["resize"] = dict(self.resize)
        return yaml.safe_dump({"train": {"warm_start": settings}}, sort_keys=False)


def import_table(result: ImportResult) -> Table:
    """The model's variables, equal ones of all blocks in one row, then what was not taken."""
    table = Table("variable", "shape", "value", "from", title=f"layout {result.layout}")
    grouped: dict[tuple[str, str, str, str], int] = {}
    for entry in result.entries:
        row = (
            _BLOCK.sub("/block_*/", entry.path),
            _shape(entry.shape),
            entry.note or _WORDS[entry.status],
            ", ".join(_NUMBER.sub(".*.", name) for name in entry.names),
        )
        grouped[row] = grouped.get(row, 0) + 1
    for cells, count in grouped.items():
        path = cells[0] if count == 1 else f"{cells[0]} ({count} times)"
        table.add_row(*map(cell, (path, *cells[1:])))
    for name in _shortened(result.unmatched):
        table.add_row("–", "", "no place in the model", cell(name))
    return table


def tensor_table(tensors: TensorFiles) -> Table:
    """Names, types and shapes of a file, those of equal blocks in one row."""
    table = Table("tensor", "type", "shape")
    grouped: dict[tuple[str, str, str], int] = {}
    for name, tensor in tensors.items():
        row = (_NUMBER.sub(".*.", name), tensor.dtype, _shape(tensor.shape))
        grouped[row] = grouped.get(row, 0) + 1
    for row, count in grouped.items():
        name = row[0] if count == 1 else f"{row[0]} ({count} times)"
        table.add_row(*map(cell, (name, *row[1:])))
    return table


def _shape(shape: Sequence[int]) -> str:
    return " × ".join(map(str, shape)) or "scalar"


def _shortened(names: Sequence[str], count: int = 20) -> list[str]:
    more = [f"… and {len(names) - count} more"] if len(names) > count else []
    return [*names[:count], *more]
