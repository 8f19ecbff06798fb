"""What the readers of all formats share: the batch they yield, and how rows become columns."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa

from tfx_pipeline.data import contract
from tfx_pipeline.data.contract import Reason, Rejected
from tfx_pipeline.data.partitions import column_values
from vl_models.errors import UserError

BATCH_ROWS = 65_536
BATCH_BYTES = 64 << 20  # of text: rows with images are large

Column: TypeAlias = pa.Array | list[Any]


@dataclasses.dataclass(frozen=True)
class RawBatch:
    """Rows of one file, by column, as they were found.

    Attributes:
        file: path or URI, printable.
        rows: row numbers int64[n], 1-based.
        columns: column name → values [n]: an Arrow array, or a list where their types differ.
        rejected: rows beside these that could not be parsed.
        unknown: names of columns that the contract does not know.
        read: how many rows the file has here, counted before any was parsed; default: all of
            the above.
    """

    file: str
    rows: np.ndarray
    columns: dict[str, Column]
    rejected: tuple[Rejected, ...] = ()
    unknown: tuple[str, ...] = ()
    read: int = -1

    def __post_init__(self) -> None:
        """Make the name printable, and count the rows where the reader did not."""
        object.__setattr__(self, "file", contract.printable(self.file))
        if self.read < 0:
            object.__setattr__(self, "read", len(self.rows) + len(self.rejected))

    def halves(self) -> tuple[RawBatch, RawBatch]:
        """The parsed rows in two batches, without the rejected ones."""
        middle = len(self.rows) // 2
        first, second = (
            RawBatch(
                self.file,
                self.rows[part],
                {name: column[part] for name, column in self.columns.items()},
            )
            for part in (slice(None, middle), slice(middle, None))
        )
        return first, second


def check_columns(path: str, names: Iterable[str]) -> tuple[str, ...]:
    """Check that the required columns are there, and none twice; return the unknown ones.

    Raises:
        UserError: names the file, the columns that are missing or twice, and those found.
    """
    names = [contract.printable(name) for name in names]
    known = {*names, *column_values(path)}
    path = contract.printable(path)
    missing = [name for name in contract.REQUIRED_COLUMNS if name not in known]
    if known.isdisjoint(contract.CLICK_COLUMNS):
        missing.append("clicked (or clicks)")
    if missing:
        raise UserError(
            f"{path}: column {', '.join(missing)} is missing. Columns found: "
            f"{', '.join(names) or 'none'}. Rename the columns of the log or add them."
        )
    if twice := [name for name in contract.COLUMNS if names.count(name) > 1]:
        raise UserError(
            f"{path}: column {', '.join(twice)} is there more than once. Columns found: "
            f"{', '.join(names)}. Rename or remove all but one."
        )
    return tuple(name for name in names if name not in contract.COLUMNS)


def in_batches(sized: Iterable[tuple[Any, int]]) -> Iterator[list[Any]]:
    """Collect items, each with its size, until there are many or they are large."""
    batch: list[Any] = []
    total = 0
    for item, size in sized:
        batch.append(item)
        total += size
        if len(batch) >= BATCH_ROWS or total >= BATCH_BYTES:
            yield batch
            batch, total = [], 0
    if batch:
        yield batch


def malformed(path: str, row: int, message: str, content: str = "{}") -> Rejected:
    """A row that could not be parsed."""
    return Rejected(contract.printable(path), row, Reason.MALFORMED_ROW, message, 1, content)


def record_batch(
    path: str,
    records: Sequence[dict[str, Any]],
    rows: list[int],
    rejected: list[Rejected],
    read: int,
) -> RawBatch:
    """Return rows, each of which names its own columns, as a batch."""
    names = dict.fromkeys(name for record in records for name in record)
    columns = {
        name: as_column([record.get(name) for record in records])
        for name in contract.COLUMNS
        if name in names
    }
    unknown = tuple(contract.printable(name) for name in names if name not in contract.COLUMNS)
    return RawBatch(path, np.array(rows, np.int64), columns, tuple(rejected), unknown, read)


def as_column(values: list[Any]) -> Column:
    """Values as an Arrow array if they are of one type and Arrow can hold them."""
    if len({*map(type, values)} - {type(None)}) > 1:
        return values  # Arrow would make 1.0 of 1 and of true
    try:
        return pa.array(values)
    except (pa.ArrowException, UnicodeEncodeError, OverflowError):
        return values
