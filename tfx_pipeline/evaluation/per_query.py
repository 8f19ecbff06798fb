"""The table of measures per query."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pyarrow as pa

from vl_models.metrics.ranking import Ranking
from vl_models.metrics.retrieval import PerQuery


def direction_table(
    direction: str,
    keys: Sequence[str],
    ranking: Ranking,
    measures: Mapping[str, PerQuery],
    slices: Mapping[str, Sequence[str]],
) -> pa.Table:
    """One row per query of a direction that has a counted positive.

    Columns: ``direction``, ``key`` (query text or image id), ``positives`` (counted ones),
    ``best_rank`` (filtered), one column per slice (null for image to text), and per measure
    its value and, as ``<measure>/count``, its number of items in the mean.
    """
    positives = np.bincount(ranking.query, minlength=ranking.num_queries)
    best = np.full(ranking.num_queries, np.iinfo(np.int64).max)
    np.minimum.at(best, ranking.query, ranking.filtered_rank)
    columns: dict[str, pa.Array] = {
        "direction": pa.array([direction] * len(keys), pa.string()),
        "key": pa.array(keys, pa.string()),
        "positives": pa.array(positives),
        "best_rank": pa.array(best),
    }
    for name, values in slices.items():
        columns[name] = pa.array(values, pa.string())
    for name, measure in measures.items():
        columns[name] = pa.array(measure.values(), mask=measure.count == 0)
        columns[f"{name}/count"] = pa.array(measure.count)
    return pa.table(columns).filter(pa.array(positives > 0))


def slice_sizes(table: pa.Table, slices: Iterable[str]) -> dict[str, dict[str, int]]:
    """Evaluated queries of each value, by slice, from the rows of one `direction_table`."""
    counted = {name: table[name].value_counts().to_pylist() for name in slices}
    return {
        name: dict(sorted((entry["values"], entry["counts"]) for entry in entries))
        for name, entries in counted.items()
    }
