"""The known positives of the evaluated queries, from relevance.parquet."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vl_models.errors import UserError

COLUMNS = ("query", "image_id", "clicks", "weight", "split", "language")
CORRELATION = "correlation"  # optional: judged files need not have it
_TRAIN = "train"


@dataclass(frozen=True)
class Relevance:
    """Evaluated queries (those with a row in an evaluated split) and all their clicks.

    Attributes:
        queries: normalised text, Q of them, in the order of their first row.
        languages: one per query.
        clicks: int64[Q], over all splits.
        pair_query: int64[E], row of the query of each known pair.
        pair_image: E image ids.
        pair_clicks: int64[E].
        pair_weight: float64[E].
        pair_counted: bool[E], whether the pair is of an evaluated split.
        correlations: strong or weak, one per query; None if the file does not say.
        seen: bool[Q], whether the query has a click in the train split; None if the file has
            none there at all, as one of judgements, which does not know what was trained on.
    """

    queries: list[str]
    languages: list[str]
    clicks: np.ndarray
    pair_query: np.ndarray
    pair_image: np.ndarray
    pair_clicks: np.ndarray
    pair_weight: np.ndarray
    pair_counted: np.ndarray
    correlations: list[str] | None = None
    seen: np.ndarray | None = None

    def select(self, pairs: np.ndarray) -> Relevance:
        """Return the same queries with only the pairs of ``pairs`` (bool[E])."""
        return dataclasses.replace(
            self,
            **{
                field: getattr(self, field)[pairs]
                for field in (
                    "pair_query",
                    "pair_image",
                    "pair_clicks",
                    "pair_weight",
                    "pair_counted",
                )
            },
        )


def read_relevance(path: str | Path, splits: Sequence[str]) -> Relevance:
    """Read the relevance file: the columns of `COLUMNS` and, if it is there, correlation.

    Args:
        path: a Parquet file.
        splits: the evaluated splits; rows of the others are known positives that are not counted.

    Raises:
        UserError: the file or a column is missing, a value is null, or the splits have no row.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"There is no relevance file. Received: relevance_path={str(path)!r}")
    names = pq.read_schema(path).names
    missing = [name for name in COLUMNS if name not in names]
    if missing:
        raise UserError(
            f"{path}: missing column(s) {', '.join(missing)}; "
            f"a relevance file has {', '.join(COLUMNS)}. Received: columns={names}"
        )
    columns = [*COLUMNS, *([CORRELATION] if CORRELATION in names else [])]
    table = pq.read_table(path, columns=columns)
    for name in columns:
        if table[name].null_count:
            raise UserError(f"{path}: column {name} has {table[name].null_count} null value(s).")
    counted = pc.is_in(table["split"], value_set=pa.array(list(splits), table["split"].type))
    if not pc.any(counted).as_py():
        found = sorted(pc.unique(table["split"]).to_pylist())
        raise UserError(
            f"{path}: no row belongs to the evaluated split(s) {', '.join(splits)}. "
            f"Received: splits={found}"
        )
    evaluated = pc.unique(table["query"].filter(counted))
    known = pc.is_in(table["query"], value_set=evaluated)
    has_train = pc.any(pc.equal(table["split"], _TRAIN)).as_py()
    table, counted = table.filter(known), counted.filter(known)
    query = np.asarray(pc.index_in(table["query"], value_set=evaluated), np.int64)
    is_counted = np.asarray(counted, bool)
    # Language and correlation of a query are those of its first evaluated row.
    first = pa.array(np.flatnonzero(is_counted)[np.unique(query[is_counted], return_index=True)[1]])
    clicks = np.asarray(table["clicks"], np.int64)
    trained = np.asarray(pc.equal(table["split"], _TRAIN), bool)
    return Relevance(
        queries=evaluated.to_pylist(),
        languages=table["language"].take(first).to_pylist(),
        clicks=np.bincount(query, weights=clicks, minlength=len(evaluated)).astype(np.int64),
        pair_query=query,
        pair_image=np.asarray(table["image_id"].to_pylist(), object),
        pair_clicks=clicks,
        pair_weight=np.asarray(table["weight"], np.float64),
        pair_counted=is_counted,
        correlations=table[CORRELATION].take(first).cast(pa.string()).to_pylist()
        if CORRELATION in columns
        else None,
        seen=np.bincount(query[trained], minlength=len(evaluated)) > 0 if has_train else None,
    )
