"""In how many sessions each query was asked: what tells one person's query from many people's.

Counted with the smallest hashes of session ids (Bar-Yossef et al., RANDOM 2002, section 2.1): of a
query's sessions only the 64 with the smallest hashes travel. Up to 64 the count is exact, above it
is 63 / the largest of them, with hashes as shares of their range: a standard error of 13 %.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tfx_pipeline.data.tables import GroupedRows, from_bytes

SKETCH = 64
SKETCH_SCHEMA = pa.schema([("query", pa.string()), ("session", pa.uint64())])
SESSIONS_SCHEMA = pa.schema([("query", pa.string()), ("sessions", pa.int64())])
_RANGE = 2.0**64


class SessionSketches:
    """Sessions of the queries of one file, while it is read."""

    def __init__(self) -> None:
        self._rows = GroupedRows(SKETCH_SCHEMA.names, ())

    def add(self, queries: pa.ChunkedArray, sessions: pa.ChunkedArray) -> Iterator[pa.Table]:
        """Add rows; yields sketches when there are too many to keep.

        Args:
            queries: string [n], normalised.
            sessions: string [n]; null where the row names none.
        """
        named = pa.table({"query": queries, "session": sessions}).drop_null()
        if named.num_rows:
            hashed = named.set_column(1, "session", _hashed(named["session"]))
            yield from map(_smallest, self._rows.add(hashed.cast(SKETCH_SCHEMA)))

    def rest(self) -> Iterator[pa.Table]:
        """Return the sketches of what is left."""
        yield from map(_smallest, self._rows.rest())


def count_sessions(pieces: Iterable[bytes]) -> pa.Table:
    """Return `SESSIONS_SCHEMA` of the sketches of some queries, sorted."""
    rows = from_bytes(pieces, SKETCH_SCHEMA)
    sketches = _smallest(rows.group_by(SKETCH_SCHEMA.names, use_threads=False).aggregate([]))
    grouped = sketches.group_by("query", use_threads=False).aggregate(
        [("session", "count"), ("session", "max")]
    )
    found = grouped["session_count"].to_numpy().astype(np.int64)
    largest = grouped["session_max"].to_numpy().astype(np.float64) + 1.0
    estimated = np.rint((SKETCH - 1) * _RANGE / largest).astype(np.int64)
    counts = np.where(found < SKETCH, found, np.maximum(estimated, SKETCH))
    table = pa.table([grouped["query"], pa.array(counts)], schema=SESSIONS_SCHEMA)
    return table.sort_by("query")


def _smallest(table: pa.Table) -> pa.Table:
    """Of each query the sessions with the smallest hashes; pairs are there once."""
    codes = table["query"].combine_chunks().dictionary_encode().indices.to_numpy()
    hashes = table["session"].to_numpy()
    order = np.lexsort((hashes, codes))
    ordered = codes[order]
    first = np.searchsorted(ordered, ordered)  # where each row's query begins
    kept = order[np.arange(len(order)) - first < SKETCH]
    return table.take(pa.array(np.sort(kept)))


def _hashed(sessions: pa.ChunkedArray) -> pa.Array:
    encoded = pc.dictionary_encode(sessions.combine_chunks())
    digests = [
        int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8, person=b"session").digest())
        for text in encoded.dictionary.to_pylist()
    ]
    return pa.array(digests, pa.uint64()).take(encoded.indices)
