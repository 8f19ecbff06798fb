"""Reranking: how good is a reranker's order of the towers' first images, and what does it cost?"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from tfx_pipeline.evaluation.candidates import (
    Candidates,
    find_candidates,
    rank_candidates,
    score_candidates,
)
from tfx_pipeline.evaluation.data import EvaluationData, Evaluator
from tfx_pipeline.evaluation.encode import Tower
from tfx_pipeline.evaluation.gallery import read_images
from tfx_pipeline.evaluation.measures import (
    per_query_measures,
    summarise,
    summarise_differences,
)
from tfx_pipeline.evaluation.metric_keys import (
    MS_PER_QUERY,
    RERANK,
    RERANK_TOKENS,
    RERANK_WEIGHT,
    before,
    difference,
    headline_names,
    measure_names,
    paired_names,
)
from tfx_pipeline.evaluation.pair_scorer import PairScorer, median_seconds
from tfx_pipeline.evaluation.per_query import direction_table, slice_sizes
from tfx_pipeline.evaluation.rerank_tables import WAY_NAMES, RerankTables
from tfx_pipeline.evaluation.rerank_weight import choose_weight
from tfx_pipeline.evaluation.result import Measured, Row, Section, Table, Tables
from tfx_pipeline.release.signatures import read_signatures
from vl_models.members import ENCODE_IMAGE_TOKENS, ENCODE_TEXT, RERANKER, TEXT_TOWER
from vl_models.metrics.bootstrap import Interval

_TOWERS_MS = f"{RERANK}/towers/{MS_PER_QUERY}"
_TIMED_QUERIES = 8
_SUM = "sum"


class Rerank(Evaluator):
    """Scores each evaluated query with its candidates by the reranker's signatures.

    Candidates are the first images of the towers, the others follow in the towers' order;
    without towers, all images are candidates. Measures are those of retrieval from text to image:
    by ``score``, and where the reranker reads images apart from texts by ``score_tokens``. Of
    recalls and reciprocal rank there is also what they were before, and the paired difference.
    All of that is measured by slice, too.
    """

    needs = "reranker and clicks"

    def fits(self, data: EvaluationData) -> bool:
        """See `Evaluator`."""
        return RERANKER in data.members and data.has_clicks

    def keys(self, data: EvaluationData) -> list[str]:
        """See `Evaluator`."""
        ways, names = reranking_ways(data), measure_names(data.config)
        paired = paired_names(data.config) if data.has_towers else []
        keys = []
        for part in _parts(data):
            keys += [before(f"{part}{RERANK}/{name}") for name in paired]
            for way in ways:
                keys += [f"{part}{way}/{name}" for name in names]
                keys += [difference(f"{part}{way}/{name}") for name in paired]
        for way in ways:
            keys += [f"{way}/{MS_PER_QUERY}", f"{way}/images_per_second"]
        if data.has_towers:
            keys += [_TOWERS_MS, *([RERANK_WEIGHT] if _is_sum(data) else [])]
        return keys

    def measure(self, data: EvaluationData) -> Measured:
        """See `Evaluator`.

        Raises:
            UserError: no towers and a large gallery, or a reranker of other input; a weight to be
                chosen, and no val split to choose it on.
        """
        config, parts = data.config, _parts(data)
        scorer = PairScorer(data.members[RERANKER], config.batch_size)
        candidates, ways = find_candidates(data), reranking_ways(data)
        metrics: dict[str, float] = {}
        intervals: dict[str, Interval] = {}
        if _is_sum(data):
            metrics[RERANK_WEIGHT] = _weight(data, scorer, ways[-1])
        towers = None
        if data.has_towers:
            ranking = rank_candidates(data, candidates, None)
            towers = per_query_measures(ranking, config)
            for part, mask in parts.items():
                summary = summarise(ranking, towers, config, mask)
                for name in paired_names(config):
                    key = before(f"{part}{RERANK}/{name}")
                    metrics[key], intervals[key] = summary[name]
            metrics[_TOWERS_MS] = 1000 * _seconds_of_towers(data, candidates)
        tables = []
        for way in ways:
            values = score_candidates(data, scorer, way, candidates)
            if _is_sum(data):
                values = candidates.cosines + metrics[RERANK_WEIGHT] * values
            ranking = rank_candidates(data, candidates, values)
            measures = per_query_measures(ranking, config)
            for part, mask in parts.items():
                for name, found in summarise(ranking, measures, config, mask).items():
                    key = f"{part}{way}/{name}"
                    metrics[key], intervals[key] = found
                if towers is None:
                    continue
                gained = summarise_differences(towers, measures, config, mask)
                for name, found in gained.items():
                    key = difference(f"{part}{way}/{name}")
                    metrics[key], intervals[key] = found
            seconds = _seconds_of_reranking(data, scorer, way, candidates)
            metrics[f"{way}/{MS_PER_QUERY}"] = 1000 * seconds
            metrics[f"{way}/images_per_second"] = candidates.items.shape[1] / seconds
            queries = data.judged.relevance.queries
            tables.append(direction_table(way, queries, ranking, measures, data.slices))
        rows, count = candidates.items.shape
        return Measured(
            metrics=metrics,
            intervals=intervals,
            counts={"reranked_queries": rows, "candidates": count},
            per_query=pa.concat_tables(tables),
            headline=[f"{way}/{name}" for way in ways for name in headline_names(config)],
            sections=_sections(
                data, slice_sizes(tables[0], data.slices), _note(data, metrics, candidates)
            ),
        )


def reranking_ways(data: EvaluationData) -> list[str]:
    """Return how the reranker can be asked; the last is how a search does."""
    apart = ENCODE_IMAGE_TOKENS in read_signatures(data.members[RERANKER])
    return [RERANK, *([RERANK_TOKENS] if apart else [])]


def _parts(data: EvaluationData) -> dict[str, np.ndarray | None]:
    """What keys begin with, and the queries, bool [Q]: all of them, then those of each slice."""
    return {"": None, **{f"{part}/": mask for part, mask in data.masks.items()}}


def _is_sum(data: EvaluationData) -> bool:
    return data.has_towers and data.config.rerank.order == _SUM


def _weight(data: EvaluationData, scorer: PairScorer, way: str) -> float:
    given = data.config.rerank.weight
    return choose_weight(data, scorer, way) if given == "auto" else float(given)


def _seconds_of_towers(data: EvaluationData, candidates: Candidates) -> float:
    """Time of a query in the text tower and an exact search, in this process."""
    tower = Tower(data.members[TEXT_TOWER], ENCODE_TEXT)
    texts, images = data.judged.relevance.queries, data.encoded.images
    count = candidates.items.shape[1]

    def search(number: int) -> np.ndarray:
        [vector] = tower.encode([texts[candidates.rows[number % len(candidates.rows)]]])
        cosines = images @ vector
        return np.argpartition(-cosines, count - 1)[:count]

    return median_seconds(search, _TIMED_QUERIES)


def _seconds_of_reranking(
    data: EvaluationData, scorer: PairScorer, way: str, candidates: Candidates
) -> float:
    """Time of one query's candidates in one call, in this process."""
    texts, ids = data.judged.relevance.queries, data.judged.image_ids
    count = candidates.items.shape[1]
    rows, everything = candidates.rows[:_TIMED_QUERIES], np.arange(count)
    items = candidates.items[: len(rows)]
    encoded = read_images(data.gallery_dir, {ids[item] for item in np.unique(items)})
    images = [[encoded[ids[item]] for item in mine] for mine in items]
    queries = [[texts[row]] * count for row in rows]
    if way == RERANK:
        return median_seconds(
            lambda n: scorer.of_images(queries[n % len(rows)], images[n % len(rows)], everything),
            _TIMED_QUERIES,
        )
    tokens = [scorer.read(mine) for mine in images]
    return median_seconds(
        lambda n: scorer.of_tokens(queries[n % len(rows)], tokens[n % len(rows)], everything),
        _TIMED_QUERIES,
    )


def _sections(
    data: EvaluationData, sizes: Mapping[str, Mapping[str, int]], note: str
) -> list[Section]:
    """Measures before and after with what they cost, then those of the slices."""
    ways = reranking_ways(data)
    tables = RerankTables(data.config, ways, data.has_towers)
    costs = [
        Row((WAY_NAMES[way],), (f"{way}/{MS_PER_QUERY}", f"{way}/images_per_second"))
        for way in ways
    ]
    if data.has_towers:
        costs.insert(0, Row(("towers",), (_TOWERS_MS, "")))
    cost = Table(("", "ms per query", "images per second"), tuple(costs), "Cost")
    sections: list[Section] = [
        Tables("Reranking, text to image", (tables.measures(), cost), note),
    ]
    if sizes:
        sections.append(Tables("Slices, reranking", tables.slices(sizes)))
    return sections


def _note(data: EvaluationData, metrics: Mapping[str, float], candidates: Candidates) -> str:
    rows, count = candidates.items.shape
    order = "in the reranker's order"
    if _is_sum(data):
        chosen = "chosen on val" if data.config.rerank.weight == "auto" else "given"
        order = f"ordered by cosine + {metrics[RERANK_WEIGHT]:g} · score (the weight is {chosen})"
    return (
        f"The first {count:,} images of each of {rows:,} queries {order}; the others follow. "
        "Intervals over queries; a difference is that of the same queries. Times are medians of "
        f"{_TIMED_QUERIES} calls with one query's images, in one process."
    )
