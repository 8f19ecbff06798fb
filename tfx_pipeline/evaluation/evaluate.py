"""Evaluation of two exported towers on a gallery and its known clicks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from tfx_pipeline.evaluation.attention import attention_maps
from tfx_pipeline.evaluation.blessing import bless
from tfx_pipeline.evaluation.config import Direction, EvaluationConfig
from tfx_pipeline.evaluation.encoded_data import EncodedData, encode_data
from tfx_pipeline.evaluation.examples import pick_examples
from tfx_pipeline.evaluation.gallery import read_images, read_labels
from tfx_pipeline.evaluation.measures import per_query_measures, summarise
from tfx_pipeline.evaluation.metric_keys import (
    MEAN,
    MODALITY_GAP,
    check_threshold_keys,
    measure_names,
    metric_keys,
    with_direction,
)
from tfx_pipeline.evaluation.per_query import direction_table
from tfx_pipeline.evaluation.relevance import read_relevance
from tfx_pipeline.evaluation.result import EvaluationResult
from tfx_pipeline.evaluation.sample import draw_sample
from tfx_pipeline.evaluation.slices import slice_masks, slice_values
from tfx_pipeline.evaluation.zero_shot import measure_zero_shot, read_setup
from vl_models.metrics.bootstrap import Interval
from vl_models.metrics.modality_gap import modality_gap
from vl_models.metrics.ranking import Ranking, rank_embeddings

_ATTENTION_MAPS = 6


def evaluate_release(
    text_tower: str | Path,
    image_tower: str | Path,
    gallery_dir: str | Path,
    relevance_path: str | Path,
    config: EvaluationConfig,
    baseline: Mapping[str, float | None] | None = None,
) -> EvaluationResult:
    """Encode the evaluated queries and the gallery with the exported towers, rank, and decide.

    Args:
      text_tower: SavedModel with ``encode_text: query string[B] → embedding float32[B, D]``.
      image_tower: SavedModel with ``encode_image: image_bytes string[B] → embedding``.
      gallery_dir: folder of ``data_tfrecord-*.gz``, every image of the store once.
      relevance_path: ``relevance.parquet`` with the clicks of all splits.
      config: what to measure.
      baseline: metrics of the current release, None if there is none.

    Raises:
      UserError: wrong files, no evaluated pair in the gallery, towers of different width, or
        a threshold on a metric that this evaluation does not yield.
    """
    relevance = read_relevance(relevance_path, config.splits)
    slices = slice_values(relevance, config)
    masks = slice_masks(slices)
    zero_shot = read_setup(text_tower, image_tower)
    keys = metric_keys(config, masks) + (zero_shot.keys if zero_shot is not None else [])
    check_threshold_keys(config, keys)  # before the expensive part
    data = encode_data(text_tower, image_tower, gallery_dir, relevance, config)
    labels = read_labels(gallery_dir, keep=data.image_ids)

    rankings: dict[Direction, Ranking] = {}
    values: dict[str, float] = {MODALITY_GAP: modality_gap(data.images, data.texts)}
    intervals: dict[str, Interval] = {}
    tables: list[pa.Table] = []
    for direction in config.directions:
        ranking = _rank(data, direction)
        found, table = _measure(data, direction, ranking, slices, masks, config)
        values.update((key, value) for key, (value, _) in found.items())
        intervals.update((key, interval) for key, (_, interval) in found.items())
        tables.append(table)
        rankings[direction] = ranking
    values.update(_means(values, config))
    if zero_shot is not None:
        found = measure_zero_shot(
            zero_shot, text_tower, image_tower, gallery_dir, data, labels, config
        )
        values.update((key, value) for key, (value, _) in found.items())
        intervals.update((key, interval) for key, (_, interval) in found.items())
    metrics = {key: values[key] for key in keys}
    examples, failures = pick_examples(data, rankings.get("text_to_image"), config)
    shown = {hit.image_id for example in examples + failures for hit in example.shown}
    return EvaluationResult(
        config=config,
        metrics=metrics,
        intervals=intervals,
        baseline=None if baseline is None else dict(baseline),
        blessing=bless(metrics, config, baseline),
        per_query=pa.concat_tables(tables),
        counts={
            "queries": len(data.relevance.queries),
            "pairs": int(data.judgements["text_to_image"].counted.sum()),
            "gallery_images": len(data.image_ids),
            "pairs_without_image": data.pairs_without_image,
            **({"labelled_images": len(labels)} if labels else {}),
        },
        sample=draw_sample(data, labels, config),
        examples=examples,
        failures=failures,
        thumbnails=read_images(gallery_dir, shown),
        attention=attention_maps(
            text_tower,
            data.relevance.queries,
            data.relevance.languages,
            _ATTENTION_MAPS,
            config.bootstrap.seed,
        ),
    )


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
