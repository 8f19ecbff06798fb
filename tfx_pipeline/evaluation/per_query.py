"""The table of measures per query, and the paired comparison of two such tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tfx_pipeline.evaluation.config import BootstrapConfig
from tfx_pipeline.evaluation.metric_keys import with_direction
from vl_models.errors import UserError
from vl_models.metrics.bootstrap import Difference, paired_difference
from vl_models.metrics.ranking import Ranking
from vl_models.metrics.retrieval import PerQuery

_KEYS = ("direction", "key")


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


def compare_tables(
    candidate: pa.Table, baseline: pa.Table, measures: Sequence[str], options: BootstrapConfig
) -> dict[str, Difference]:
    """Paired differences, candidate minus baseline, over the queries that both tables hold.

    Args:
      candidate: per-query table of this release.
      baseline: per-query table of the current release.
      measures: names of the measures to compare; those that a table lacks are left out.
      options: of the bootstrap.

    Returns:
      metric key → difference, for every direction that both tables hold.

    Raises:
      UserError: the tables have no query in common.
    """
    both = candidate.select(_KEYS).append_column("row", pa.array(range(len(candidate))))
    other = baseline.select(_KEYS).append_column("other", pa.array(range(len(baseline))))
    joined = both.join(other, list(_KEYS), join_type="inner").sort_by("row")
    if not len(joined):
        raise UserError(
            "The per-query tables of this and the current release have no query in common; "
            "evaluate both on the same data."
        )
    first, second = baseline.take(joined["other"]), candidate.take(joined["row"])
    differences = {}
    for direction in pc.unique(joined["direction"]).to_pylist():
        rows = pc.equal(second["direction"], direction)
        before, after = first.filter(rows), second.filter(rows)
        for name in measures:
            if name in before.column_names and name in after.column_names:
                differences[with_direction(name, direction)] = paired_difference(
                    _sums(before, name),
                    _sums(after, name),
                    options.samples,
                    options.confidence,
                    options.seed,
                )
    return differences


def _sums(table: pa.Table, name: str) -> tuple[np.ndarray, np.ndarray]:
    count = table[f"{name}/count"].to_numpy()
    value = table[name].fill_null(0.0).to_numpy()
    return value * count, count
