"""Tables of a reranking: measures in the towers' order and after, with what lies between."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tfx_pipeline.evaluation.config import EvaluationConfig
from tfx_pipeline.evaluation.metric_keys import (
    RERANK,
    RERANK_TOKENS,
    before,
    difference,
    measure_names,
    paired_names,
)
from tfx_pipeline.evaluation.result import Row, Table

WAY_NAMES = {RERANK: "reranked", RERANK_TOKENS: "reranked, images read before"}


@dataclass(frozen=True)
class RerankTables:
    """Tables with a column for each order of the images.

    Attributes:
        config: of the evaluation.
        ways: how the reranker is asked, keys of `WAY_NAMES`.
        has_towers: whether there is an order to compare with.
    """

    config: EvaluationConfig
    ways: Sequence[str]
    has_towers: bool

    def measures(self) -> Table:
        """Every measure over all queries."""
        rows = [self._row((name,), name) for name in measure_names(self.config)]
        return Table(("metric", *self._orders()), tuple(rows))

    def slices(self, sizes: Mapping[str, Mapping[str, int]]) -> tuple[Table, ...]:
        """The measures that are compared, a table for each slice.

        Args:
            sizes: number of queries of each value, by slice.
        """
        columns = ("value", "queries", "metric", *self._orders())
        return tuple(
            Table(
                columns,
                tuple(
                    self._row((value, f"{size:,}", name), name, f"{part}={value}/")
                    for value, size in values.items()
                    for name in paired_names(self.config)
                ),
                heading=part.replace("_", " "),
            )
            for part, values in sizes.items()
        )

    def _orders(self) -> list[str]:
        columns = ["towers"] if self.has_towers else []
        for way in self.ways:
            columns += [WAY_NAMES[way], *(["difference"] if self.has_towers else [])]
        return columns

    def _row(self, labels: tuple[str, ...], name: str, part: str = "") -> Row:
        keys = []
        if self.has_towers:
            # Of the measures that are not paired, the towers' are those of the retrieval.
            paired = name in paired_names(self.config)
            keys.append(before(f"{part}{RERANK}/{name}") if paired else f"{part}{name}")
        for way in self.ways:
            key = f"{part}{way}/{name}"
            keys += [key, *([difference(key)] if self.has_towers else [])]
        return Row(labels, tuple(keys))
