"""Retrieval: do two towers find the images that were clicked, and the queries of an image?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from tfx_pipeline.evaluation.attention import attention_maps
from tfx_pipeline.evaluation.config import Direction, EvaluationConfig
from tfx_pipeline.evaluation.data import EvaluationData, Evaluator
from tfx_pipeline.evaluation.encoded_data import EncodedData
from tfx_pipeline.evaluation.examples import pick_examples
from tfx_pipeline.evaluation.gallery import read_images
from tfx_pipeline.evaluation.measures import per_query_measures, summarise
from tfx_pipeline.evaluation.metric_keys import (
    MEAN,
    MODALITY_GAP,
    TEXT_TO_IMAGE,
    headline_names,
    measure_names,
    metric_keys,
    with_direction,
)
from tfx_pipeline.evaluation.per_query import direction_table, slice_sizes
from tfx_pipeline.evaluation.result import (
    Attention,
    Example,
    Measured,
    Queries,
    Row,
    Section,
    Space,
    Table,
    Tables,
)
from tfx_pipeline.evaluation.sample import draw_sample
from vl_models.members import TEXT_TOWER
from vl_models.metrics.bootstrap import Interval
from vl_models.metrics.modality_gap import modality_gap
from vl_models.metrics.ranking import Ranking, rank_embeddings

_ATTENTION_MAPS = 6
_OF_LABELS = "labels; a query has that of the image clicked for it most"
_MARKS = (
    "First results of the whole gallery. Green: clicked in the evaluated split. Dashed: clicked in "
    "another split. The rank is that of the best green image among images without a known click."
)


class Retrieval(Evaluator):
    """Encodes the evaluated queries and the gallery, and ranks each by the other."""

    needs = "text_tower, image_tower and clicks"

    def fits(self, data: EvaluationData) -> bool:
        """See `Evaluator`."""
        return data.has_towers and data.has_clicks

    def keys(self, data: EvaluationData) -> list[str]:
        """See `Evaluator`; slices are part of them."""
        return metric_keys(data.config, data.masks)

    def measure(self, data: EvaluationData) -> Measured:
        """See `Evaluator`.

        Raises:
            UserError: wrong files, no evaluated pair in the gallery, towers of different width.
        """
        config, encoded, labels = data.config, data.encoded, data.labels
        rankings: dict[Direction, Ranking] = {}
        values: dict[str, float] = {MODALITY_GAP: modality_gap(encoded.images, encoded.texts)}
        intervals: dict[str, Interval] = {}
        tables: list[pa.Table] = []
        for direction in config.directions:
            rankings[direction] = ranking = _rank(encoded, direction)
            found, table = _measure(encoded, direction, ranking, data.slices, data.masks, config)
            values.update((key, value) for key, (value, _) in found.items())
            intervals.update((key, interval) for key, (_, interval) in found.items())
            tables.append(table)
        values.update(_means(values, config))
        counts = {
            "queries": len(encoded.relevance.queries),
            "pairs": int(encoded.judgements["text_to_image"].counted.sum()),
            "gallery_images": len(encoded.image_ids),
            "pairs_without_image": encoded.pairs_without_image,
            **({"labelled_images": len(labels)} if labels else {}),
        }
        sizes = slice_sizes(tables[0], data.slices) if TEXT_TO_IMAGE in config.directions else {}
        return Measured(
            metrics=values,
            intervals=intervals,
            counts=counts,
            per_query=pa.concat_tables(tables),
            headline=headline_keys(config),
            note=retrieval_note(config, counts),
            sections=[
                *retrieval_tables(config, sizes),
                Space(
                    "Embedding space",
                    draw_sample(encoded, labels, config),
                    gap=MODALITY_GAP,
                    labels=_OF_LABELS,
                ),
                *_attention(data),
                *_queries(data, rankings.get("text_to_image")),
            ],
        )


def headline_keys(config: EvaluationConfig) -> list[str]:
    """Return the metrics one looks at first, in the first direction of the evaluation."""
    direction = config.directions[0]
    return [*(with_direction(name, direction) for name in headline_names(config)), MODALITY_GAP]


def retrieval_note(config: EvaluationConfig, counts: Mapping[str, int]) -> str:
    """How the numbers of a retrieval came about."""
    if config.protocol == "pairs":
        protocol = (
            "Each (query, image) pair is one test item; all other known clicks of the query are "
            "taken out of the ranking."
        )
    else:
        protocol = (
            "Each query is one test item, ranked by its best clicked image; its clicks of other "
            "splits are taken out of the ranking."
        )
    left_out = counts.get("pairs_without_image", 0)
    without = (
        f" {left_out:,} evaluated pairs are left out: the gallery lacks their image."
        if left_out
        else ""
    )
    return (
        f"{', '.join(config.splits)} split: {counts['queries']:,} queries, {counts['pairs']:,} "
        f"clicked pairs, {counts['gallery_images']:,} gallery images. {protocol} Equal scores "
        f"rank last. Intervals over queries.{without}"
    )


def retrieval_tables(
    config: EvaluationConfig, sizes: Mapping[str, Mapping[str, int]]
) -> list[Section]:
    """Every measure in each direction and, of two, their mean; then those of the slices."""
    columns = [*config.directions, *([MEAN] if len(config.directions) > 1 else [])]
    rows = [
        Row((name,), tuple(with_direction(name, column) for column in columns))
        for name in measure_names(config)
    ]
    shown = ("metric", *(column.replace("_", " ") for column in columns))
    over = {
        "relevant": "divided by all clicked images",
        "hits": "divided by the hits within the cut-off",
        "min": "divided by min(clicked images, cut-off)",
    }[config.map_denominator]
    note = f"mAP: {over}. NDCG: linear gains ({config.gain})."
    sections: list[Section] = [Tables("Retrieval", (Table(shown, tuple(rows)),), note)]
    names = headline_names(config)
    tables = [
        Table(
            ("value", "queries", *names),
            tuple(
                Row((value, f"{size:,}"), tuple(f"{part}={value}/{name}" for name in names))
                for value, size in values.items()
            ),
            heading=part.replace("_", " "),
        )
        for part, values in sizes.items()
    ]
    if tables:
        sections.append(Tables("Slices, text to image", tuple(tables)))
    return sections


def _attention(data: EvaluationData) -> list[Section]:
    relevance = data.encoded.relevance
    maps = attention_maps(
        data.members[TEXT_TOWER],
        relevance.queries,
        relevance.languages,
        _ATTENTION_MAPS,
        data.config.bootstrap.seed,
    )
    return [Attention("Attention by text prefix", maps)] if maps else []


def _queries(data: EvaluationData, ranking: Ranking | None) -> list[Section]:
    """Return a random choice and the worst, with thumbnails."""
    picked = pick_examples(data.encoded, ranking, data.config)
    shown = {hit.image_id for examples in picked for one in examples for hit in one.shown}
    names = {one: data.item_names[one] for one in shown if one in data.item_names}
    return query_sections(*picked, read_images(data.gallery_dir, shown), names)


def query_sections(
    examples: tuple[Example, ...],
    failures: tuple[Example, ...],
    thumbnails: Mapping[str, bytes],
    names: Mapping[str, str] | None = None,
) -> list[Section]:
    """The sections of a random choice of queries and of the worst, as far as there are any."""
    sections = [
        Queries("Example queries", examples, thumbnails, _MARKS, names or {}),
        Queries("Worst queries", failures, thumbnails, names=names or {}),
    ]
    return [section for section in sections if section.examples]


def _rank(data: EncodedData, direction: Direction) -> Ranking:
    judgements = data.judgements[direction]
    if direction == "text_to_image":
        return rank_embeddings(data.texts, data.images, judgements)
    return rank_embeddings(data.images, data.texts, judgements)


def _measure(
    data: EncodedData,
    direction: Direction,
    ranking: Ranking,
    slices: Mapping[str, Sequence[str]],
    masks: Mapping[str, np.ndarray],
    config: EvaluationConfig,
) -> tuple[dict[str, tuple[float, Interval]], pa.Table]:
    """Metrics with intervals, and the per-query rows; slices split text to image only."""
    measures = per_query_measures(ranking, config)
    summary = summarise(ranking, measures, config)
    found = {with_direction(name, direction): summary[name] for name in summary}
    if direction == "text_to_image":
        keys = data.relevance.queries
        for part, mask in masks.items():
            summary = summarise(ranking, measures, config, mask)
            found.update((f"{part}/{name}", entry) for name, entry in summary.items())
    else:
        keys = data.image_ids
        slices = {name: [None] * len(keys) for name in slices}  # type: ignore[list-item]
    return found, direction_table(direction, keys, ranking, measures, slices)


def _means(values: Mapping[str, float], config: EvaluationConfig) -> dict[str, float]:
    """``<measure>/mean`` over the directions, if there are several."""
    if len(config.directions) == 1:
        return {}
    return {
        f"{name}/{MEAN}": float(
            np.mean([values[with_direction(name, direction)] for direction in config.directions])
        )
        for name in measure_names(config)
    }
