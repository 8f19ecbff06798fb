"""The items of an index: what is known of each image, for hits, filters and counts.

`items.parquet` has the columns `id` and `uri`, `_content` (SHA-256 of what was encoded) where it is
known, and the item columns: texts, whole numbers, numbers, truth values, lists of texts.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from serving.errors import ServingError
from serving.index_description import REBUILD
from serving.parquet_files import opened_table

ITEMS_FILE = "items.parquet"
ID, URI, CONTENT = "id", "uri", "_content"
NAMES = ("name", "title")  # columns that hold what people call an item
RESERVED = (URI, "score", "rank", "rerank_score")  # of hits; `id` is the items' own
# Texts of which a column has at most so many different ones are offered as a choice.
_MOST_CHOICES = 50


def is_item_type(kind: pa.DataType) -> bool:
    """Whether a column of that type can be an item's."""
    return (
        pa.types.is_string(kind)
        or pa.types.is_int64(kind)
        or pa.types.is_float64(kind)
        or pa.types.is_boolean(kind)
        or (pa.types.is_list(kind) and pa.types.is_string(kind.value_type))
    )


def name_of(item: Mapping[str, Any]) -> str:
    """Return what people call an item, by its columns; "" if none of them says."""
    return next((item[key] for key in NAMES if isinstance(item.get(key), str)), "")


class ItemTable:
    """Items by the rows of their index. Safe to share between threads.

    Args:
        table: columns `id` and `uri`, string, and any others; one row per vector.
    """

    def __init__(self, table: pa.Table):
        self._table = table
        self.ids: list[str] = table[ID].to_pylist()
        self.uris: list[str] = table[URI].to_pylist()

    @classmethod
    def read(cls, path: Path) -> ItemTable:
        """Read items.parquet.

        Raises:
            ServingError: no such file, or no such table.
        """
        with opened_table(path, "with the columns id and uri") as table:
            items = cls(table.combine_chunks())
        if not all(isinstance(text, str) for texts in (items.ids, items.uris) for text in texts):
            raise ServingError(f"{path} has an id or uri that is no text. {REBUILD}")
        return items

    @classmethod
    def of(cls, ids: Sequence[str], uris: Sequence[str], columns: pa.Table | None) -> ItemTable:
        """Return the items of an index that is being built."""
        table = pa.table({ID: pa.array(ids, pa.string()), URI: pa.array(uris, pa.string())})
        for name in columns.column_names if columns is not None else ():
            assert columns is not None
            table = table.append_column(name, columns[name])
        return cls(table)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def table(self) -> pa.Table:
        """All of it, as the file has it."""
        return self._table

    @functools.cached_property
    def columns(self) -> dict[str, pa.DataType]:
        """Type of each item column by its name."""
        own = (ID, URI)
        return {
            field.name: field.type
            for field in self._table.schema
            if field.name not in own and not field.name.startswith("_")
        }

    @functools.cached_property
    def _rows(self) -> dict[str, int]:
        return {item: row for row, item in enumerate(self.ids)}

    def row_of(self, item: str) -> int | None:
        """Row of an id; None if no item has it."""
        return self._rows.get(item)

    def contents(self) -> list[str] | None:
        """SHA-256 of what was encoded of each image; None in indexes that do not say."""
        return self._table[CONTENT].to_pylist() if CONTENT in self._table.column_names else None

    def values(self, row: int) -> dict[str, Any]:
        """Item columns of a row by their names; without those that are missing."""
        read = {name: self._table[name][row].as_py() for name in self.columns}
        return {name: value for name, value in read.items() if value is not None}

    def column(self, name: str) -> pa.ChunkedArray:
        """Values of an item column by row."""
        return self._table[name]

    def choices(self, mask: np.ndarray | None = None) -> dict[str, dict[str, int]]:
        """How many items have each value, of columns that offer a choice.

        Args:
            mask: bool [N]; counts only those rows.

        Returns:
            By column: value to count, the commonest first. Columns of texts, lists of texts and
            truth values with at most 50 values.
        """
        counted = {}
        for name in self._choosable:
            column = self._table[name]
            if mask is not None:
                column = column.filter(pa.array(mask))
            if pa.types.is_list(column.type):
                column = pc.list_flatten(column)
            counts = pc.value_counts(column.drop_null())
            pairs = zip(counts.field("values").to_pylist(), counts.field("counts").to_pylist())
            ordered = sorted(pairs, key=lambda pair: (-pair[1], str(pair[0])))
            counted[name] = {_shown(value): count for value, count in ordered}
        return counted

    @functools.cached_property
    def _choosable(self) -> list[str]:
        names = []
        for name, kind in self.columns.items():
            column = self._table[name]
            if pa.types.is_list(kind):
                column = pc.list_flatten(column)
            if pa.types.is_boolean(kind) or (
                (pa.types.is_string(kind) or pa.types.is_list(kind))
                and 1 < pc.count_distinct(column).as_py() <= _MOST_CHOICES
            ):
                names.append(name)
        return names

    @functools.cached_property
    def ranges(self) -> Mapping[str, tuple[float, float]]:
        """Smallest and largest value of each column of numbers that has any."""
        found = {}
        for name, kind in self.columns.items():
            if pa.types.is_int64(kind) or pa.types.is_float64(kind):
                ends = pc.min_max(self._table[name]).as_py()
                if ends["min"] is not None:
                    found[name] = (ends["min"], ends["max"])
        return found


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else value
