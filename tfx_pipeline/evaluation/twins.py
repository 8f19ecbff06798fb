"""Twins: does a query's image score above one that shows the same things in another arrangement?

A model that knows what is in an image, and not how it is put together, is right half of the time.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from tfx_pipeline.evaluation.candidates import score_pairs
from tfx_pipeline.evaluation.data import EvaluationData, Evaluator
from tfx_pipeline.evaluation.metric_keys import RERANK, TWIN_WINS, difference
from tfx_pipeline.evaluation.pair_scorer import PairScorer
from tfx_pipeline.evaluation.rerank import reranking_ways
from tfx_pipeline.evaluation.result import Measured, Row, Table, Tables
from vl_models.members import RERANKER
from vl_models.metrics.bootstrap import Interval, percentile_interval, ratio_draws
from vl_models.metrics.ranking import COSINE_TIE_TOLERANCE
from vl_models.metrics.retrieval import PerQuery


class Twins(Evaluator):
    """Share of (query, clicked image) pairs whose image's twin scores higher; a tie counts half.

    Pairs count whose twin is in the gallery and is not right for the query, too.
    """

    needs = "clicks, a table of items with twins, and towers or a reranker"

    def fits(self, data: EvaluationData) -> bool:
        """See `Evaluator`."""
        return bool(data.has_clicks and data.twins and _ways(data))

    def keys(self, data: EvaluationData) -> list[str]:
        """See `Evaluator`."""
        ways = _ways(data)
        compared = [difference(_key(way)) for way in ways if way and data.has_towers]
        return [*map(_key, ways), *compared]

    def measure(self, data: EvaluationData) -> Measured:
        """See `Evaluator`.

        Raises:
            UserError: models or data that cannot be used.
        """
        query, clicked, twin = _pairs(data)
        queries = data.judged.relevance.queries
        metrics: dict[str, float] = {}
        intervals: dict[str, Interval] = {}
        wins = {way: _wins(data, way, query, clicked, twin) for way in _ways(data)}
        count = np.bincount(query, minlength=len(queries)).astype(np.float64)
        totals = {_key(way): _per_query(query, own, len(queries)) for way, own in wins.items()}
        if data.has_towers:
            for way in wins:
                if way:
                    totals[difference(_key(way))] = totals[_key(way)] - totals[TWIN_WINS]
        has_pair = count > 0
        for key, total in totals.items():
            metrics[key] = PerQuery(total, count).mean()
            draws = ratio_draws(
                total[has_pair, None],
                count[has_pair, None],
                data.config.bootstrap.samples,
                data.config.bootstrap.seed,
            )
            intervals[key] = percentile_interval(draws[:, 0], data.config.bootstrap.confidence)
        rows = np.flatnonzero(has_pair)
        return Measured(
            metrics=metrics,
            intervals=intervals,
            counts={"twin_pairs": len(query)},
            per_query=pa.table(
                {
                    "direction": pa.array(["twins"] * len(rows), pa.string()),
                    "key": pa.array([queries[row] for row in rows], pa.string()),
                    **{key: pa.array((totals[key] / np.maximum(count, 1))[rows]) for key in totals},
                }
            ),
            headline=[_key(way) for way in wins],
            sections=[
                Tables(
                    "Twins",
                    (_table(data),),
                    f"Share of {len(query):,} pairs of a query and its image whose image has a "
                    "twin that scores higher; a tie counts half, so guessing gives 0.5. Less is "
                    "better. Intervals over queries; a difference is that of the same queries.",
                )
            ],
        )


def _ways(data: EvaluationData) -> list[str]:
    """Return what can be asked: "" for the towers, and the ways of a reranker."""
    towers = [""] if data.has_towers else []
    return [*towers, *(reranking_ways(data) if RERANKER in data.members else [])]


def _key(way: str) -> str:
    return f"{way}/{TWIN_WINS}" if way else TWIN_WINS


def _pairs(data: EvaluationData) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of query, clicked image and its twin, int64 [P] each."""
    judged = data.judged
    row_of = {image_id: row for row, image_id in enumerate(judged.image_ids)}
    judgements = judged.judgements["text_to_image"]
    known = set(zip(judgements.query.tolist(), judgements.item.tolist()))
    found = [
        (query, item, twin)
        for query, item, counted in zip(
            judgements.query.tolist(), judgements.item.tolist(), judgements.counted.tolist()
        )
        if counted
        and (twin := row_of.get(data.twins.get(judged.image_ids[item], ""))) is not None
        and (query, twin) not in known
    ]
    columns = np.array(found, np.int64).reshape(-1, 3).T
    return columns[0], columns[1], columns[2]


def _wins(
    data: EvaluationData, way: str, query: np.ndarray, clicked: np.ndarray, twin: np.ndarray
) -> np.ndarray:
    """1 where the twin scores higher, 0.5 where both are equal, else 0; float64 [P]."""
    if not len(query):
        return np.zeros(0)
    if way:
        scorer = PairScorer(data.members[RERANKER], data.config.batch_size)
        texts = [data.judged.relevance.queries[row] for row in query]
        both = score_pairs(data, scorer, way, [*texts, *texts], np.concatenate([clicked, twin]))
        margin = np.subtract(*np.split(both, 2))
        tolerance = 0.0
    else:
        texts, images = data.encoded.texts[query], data.encoded.images
        margin = np.einsum("pd,pd->p", texts, images[clicked] - images[twin])
        tolerance = COSINE_TIE_TOLERANCE
    return np.where(np.abs(margin) <= tolerance, 0.5, (margin < 0).astype(np.float64))


def _per_query(query: np.ndarray, values: np.ndarray, queries: int) -> np.ndarray:
    return np.bincount(query, weights=values, minlength=queries)


def _table(data: EvaluationData) -> Table:
    ways = _ways(data)
    names = {"": "towers", RERANK: "reranker"}
    rows = []
    for way in ways:
        compared = (difference(_key(way)),) if way and data.has_towers else ("",)
        label = names.get(way, "reranker, images read before")
        rows.append(Row((label,), (_key(way), *compared)))
    return Table(("", "twin wins", "difference to the towers"), tuple(rows))
