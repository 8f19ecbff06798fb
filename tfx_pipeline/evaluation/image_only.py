"""Evaluation of a system without texts: do images of one label lie together?"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from tfx_pipeline.evaluation.blessing import bless
from tfx_pipeline.evaluation.config import EvaluationConfig
from tfx_pipeline.evaluation.encode import Tower, encode_gallery
from tfx_pipeline.evaluation.gallery import read_labels
from tfx_pipeline.evaluation.metric_keys import (
    KNN_ACCURACY,
    KNN_NEIGHBOURS,
    check_threshold_keys,
)
from tfx_pipeline.evaluation.result import EmbeddingSample, EvaluationResult
from tfx_pipeline.evaluation.sample import image_labels
from tfx_pipeline.evaluation.zero_shot import mean_with_interval
from vl_models.export import ENCODE_IMAGE
from vl_models.metrics.knn import knn_correct
from vl_models.metrics.retrieval import PerQuery


def evaluate_images(
    image_tower: str | Path, gallery_dir: str | Path, config: EvaluationConfig
) -> EvaluationResult:
    """Encode the gallery and classify each labelled image by its labelled neighbours.

    Args:
      image_tower: SavedModel with ``encode_image``.
      gallery_dir: folder of ``data_tfrecord-*.gz``, every image of the store once.
      config: batch size, bootstrap and thresholds; what is about queries has no meaning here.

    Returns:
      An evaluation whose one metric is `KNN_ACCURACY`, the leave-one-out accuracy over the
      images with a label text; NaN with fewer than two of them.

    Raises:
      UserError: no gallery, no tower, or a threshold on another metric.
    """
    check_threshold_keys(config, [KNN_ACCURACY])
    labels = read_labels(gallery_dir)
    image_ids, images = encode_gallery(
        Tower(image_tower, ENCODE_IMAGE), gallery_dir, config.batch_size
    )
    rows = [row for row, name in enumerate(image_ids) if name in labels]
    correct = _correct(images[rows], [labels[image_ids[row]] for row in rows])
    value, interval = mean_with_interval(PerQuery(correct, np.ones(len(correct))), config)
    metrics = {KNN_ACCURACY: value}
    generator = np.random.default_rng(config.bootstrap.seed)
    shown = np.sort(generator.permutation(len(images))[: config.report.sample])
    return EvaluationResult(
        config=config,
        metrics=metrics,
        intervals={KNN_ACCURACY: interval},
        baseline=None,
        blessing=bless(metrics, config),
        per_query=pa.table(
            {
                "direction": pa.array(["image_to_label"] * len(correct), pa.string()),
                "key": pa.array([image_ids[row] for row in rows[: len(correct)]], pa.string()),
                KNN_ACCURACY: pa.array(correct),
            }
        ),
        counts={"gallery_images": len(image_ids), "labelled_images": len(rows)},
        sample=EmbeddingSample(
            images=images[shown],
            texts=np.empty((0, images.shape[1]), np.float32),
            image_labels=image_labels([image_ids[row] for row in shown], labels),
        ),
    )


def _correct(images: np.ndarray, names: list[tuple[str, ...]]) -> np.ndarray:
    """1.0 or 0.0 per labelled image; nothing if there are no two to compare."""
    if len(images) < 2:
        return np.empty(0)
    number = {name: at for at, name in enumerate(sorted({n for some in names for n in some}))}
    labels = np.zeros((len(names), len(number)), bool)
    for row, some in enumerate(names):
        labels[row, [number[name] for name in some]] = True
    return knn_correct(images, labels, KNN_NEIGHBOURS).astype(np.float64)
