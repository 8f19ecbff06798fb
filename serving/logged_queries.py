"""What people searched for, as the index holds it: for suggestions and "people found it by".

`queries.parquet`: `query` (normalised), `language`, `clicks` and `images` (ids, the most clicked
first) with `image_clicks` of the train split alone, `sessions` in which it was asked; null where
the log names no sessions.
"""

from __future__ import annotations

import bisect
import heapq
import re
import unicodedata
from collections import defaultdict
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa

from serving.parquet_files import opened_table

QUERIES_FILE = "queries.parquet"
QUERIES_SCHEMA = pa.schema(
    [
        ("query", pa.string()),
        ("language", pa.string()),
        ("clicks", pa.int64()),
        ("sessions", pa.int64()),
        ("images", pa.list_(pa.string())),
        ("image_clicks", pa.list_(pa.int64())),
    ]
)
# One person's query may name that person: others see what several asked.
LEAST_SESSIONS = 5


class LoggedQueries:
    """The queries of an index. Safe to share between threads.

    Args:
        table: `QUERIES_SCHEMA`.
        least_sessions: queries asked in fewer sessions are shown to nobody.
    """

    def __init__(self, table: pa.Table, least_sessions: int = LEAST_SESSIONS):
        # A query whose sessions nobody counted may be one person's.
        sessions = table["sessions"].fill_null(0).to_numpy()
        self._table = table.filter(pa.array(sessions >= least_sessions))

    @classmethod
    def none(cls) -> LoggedQueries:
        """Of an index that holds no queries."""
        return cls(QUERIES_SCHEMA.empty_table())

    @classmethod
    def read(cls, path: Path) -> LoggedQueries:
        """Read queries.parquet.

        Raises:
            ServingError: no such file, or no such table.
        """
        with opened_table(path, "of queries") as table:
            return cls(table.select(QUERIES_SCHEMA.names).cast(QUERIES_SCHEMA))

    def __len__(self) -> int:
        return len(self._table)

    def suggest(self, start: str, k: int = 8) -> list[str]:
        """Return up to k queries that begin so, the most clicked first.

        A word of a query may begin so, too; those whose first word does come first. White space,
        width of letters and case make no difference.
        """
        wanted = _folded(start)
        if not wanted.strip():
            return []
        found: dict[int, None] = {}
        for starts in (self._starts, self._word_starts):
            low = bisect.bisect_left(starts, (wanted, -1))
            high = bisect.bisect_left(starts, (wanted + "\U0010ffff", -1))
            rows = {row for _, row in starts[low:high]} - found.keys()
            ordered = heapq.nsmallest(k, rows, key=lambda row: (-self._clicks[row], row))
            found |= dict.fromkeys(ordered)
            if len(found) >= k:
                break
        return [self._texts[row] for row in list(found)[:k]]

    def popular(self, k: int = 8) -> list[str]:
        """Return the k most clicked queries."""
        rows = heapq.nsmallest(k, range(len(self)), key=lambda row: (-self._clicks[row], row))
        return [self._texts[row] for row in rows]

    def of_image(self, image_id: str, k: int = 10) -> list[str]:
        """Return up to k queries that people clicked an image for, the most clicks first."""
        return [self._texts[row] for row in self._by_image.get(image_id, ())[:k]]

    @cached_property
    def _texts(self) -> list[str]:
        return self._table["query"].to_pylist()

    @cached_property
    def _clicks(self) -> np.ndarray:
        return self._table["clicks"].to_numpy()

    @cached_property
    def _starts(self) -> list[tuple[str, int]]:
        return sorted((_folded(text), row) for row, text in enumerate(self._texts))

    @cached_property
    def _word_starts(self) -> list[tuple[str, int]]:
        """Every ending of a query that begins with a word, or with a character of Chinese."""
        starts = []
        for row, text in enumerate(map(_folded, self._texts)):
            for place in range(1, len(text)):
                before, here = text[place - 1], text[place]
                if (before == " " and here != " ") or _is_ideograph(here):
                    starts.append((text[place:], row))
        return sorted(starts)

    @cached_property
    def _by_image(self) -> dict[str, list[int]]:
        counted: dict[str, list[tuple[int, int]]] = defaultdict(list)
        columns = (self._table[name].to_pylist() for name in ("images", "image_clicks"))
        for row, (images, clicks) in enumerate(zip(*columns)):
            for image_id, count in zip(images, clicks):
                counted[image_id].append((-count, row))
        return {image_id: [row for _, row in sorted(rows)] for image_id, rows in counted.items()}


def _folded(text: str) -> str:
    return re.sub(r"\s+", " ", unicodedata.normalize("NFKC", text).lower()).lstrip()


def _is_ideograph(character: str) -> bool:
    return "\u3400" <= character <= "\u9fff" or "\U00020000" <= character <= "\U0003ffff"
