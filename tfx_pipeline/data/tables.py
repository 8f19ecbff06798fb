"""Arrow helpers: tables as shuffle elements and files, grouping, sharding."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq


def to_bytes(table: pa.Table) -> bytes:
    """Return a table as one compressed Arrow IPC stream: a compact element for a shuffle."""
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    with pa.ipc.new_stream(sink, table.schema, options=options) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def write_parquet(table: pa.Table, path: Path, **options: Any) -> None:
    """Write a table as one Parquet file, in one piece; its folder is made if missing.

    Args:
        table: what is written.
        path: of the file.
        options: of `pyarrow.parquet.write_table`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}")
    try:
        pq.write_table(table, temporary, **options)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def from_bytes(pieces: Iterable[bytes], schema: pa.Schema) -> pa.Table:
    """Return the rows of several such elements as one table."""
    tables = [pa.ipc.open_stream(piece).read_all() for piece in pieces]
    return pa.concat_tables(tables) if tables else schema.empty_table()


def group(table: pa.Table, keys: Sequence[str], aggregates: Sequence[tuple[str, str]]) -> pa.Table:
    """Group by keys; the aggregated columns keep their names and types."""
    grouped = table.group_by(list(keys), use_threads=False).aggregate(list(aggregates))
    names = {f"{column}_{function}": column for column, function in aggregates}
    grouped = grouped.rename_columns([names.get(name, name) for name in grouped.column_names])
    columns = [*keys, *(column for column, _ in aggregates)]
    schema = pa.schema([table.schema.field(column) for column in columns])
    return grouped.select(columns).cast(schema)


def shard_of(key: str, shards: int) -> int:
    """Return the shard of a key: independent of order, process and the other keys."""
    digest = hashlib.blake2b(key.encode("utf-8"), digest_size=8, person=b"shard").digest()
    return int.from_bytes(digest, "little") % shards


def split_by_shard(table: pa.Table, key: str, shards: int) -> Iterator[tuple[int, pa.Table]]:
    """Divide a table by the shard of a text column; empty shards are left out."""
    if not table.num_rows:
        return
    column = table[key].combine_chunks().dictionary_encode()
    of_value = np.array([shard_of(value, shards) for value in column.dictionary.to_pylist()])
    of_row = of_value[column.indices.to_numpy(zero_copy_only=False)]
    order = np.argsort(of_row, kind="stable")
    ordered = table.take(pa.array(order))
    edges = np.searchsorted(of_row[order], np.arange(shards + 1))
    for shard in np.unique(of_row):
        start, end = int(edges[shard]), int(edges[shard + 1])
        yield int(shard), ordered.slice(start, end - start)


class GroupedRows:
    """Rows that are grouped while they arrive, so that memory follows the groups.

    Attributes:
        keys, aggregates: as for `group`; aggregating aggregates must be allowed (sum, min).
        limit: number of groups above which `add` hands them out.
    """

    def __init__(
        self,
        keys: Sequence[str],
        aggregates: Sequence[tuple[str, str]],
        limit: int = 1_000_000,
    ):
        self.keys, self.aggregates, self.limit = list(keys), list(aggregates), limit
        self._tables: list[pa.Table] = []
        self._rows = 0
        self._grouped = 0

    def add(self, table: pa.Table) -> Iterator[pa.Table]:
        """Add rows; yields a grouped table when there are more groups than the limit."""
        table = group(table, self.keys, self.aggregates)
        self._tables.append(table)
        self._rows += table.num_rows
        # Regroup when the new rows outnumber the groups: amortised linear time.
        if self._rows > max(1 << 16, 2 * self._grouped):
            merged = group(pa.concat_tables(self._tables), self.keys, self.aggregates)
            self._tables, self._rows, self._grouped = [merged], merged.num_rows, merged.num_rows
            if merged.num_rows > self.limit:
                self._tables, self._rows, self._grouped = [], 0, 0
                yield merged

    def rest(self) -> Iterator[pa.Table]:
        """Return what is left, grouped."""
        if self._tables:
            yield group(pa.concat_tables(self._tables), self.keys, self.aggregates)
            self._tables, self._rows, self._grouped = [], 0, 0
