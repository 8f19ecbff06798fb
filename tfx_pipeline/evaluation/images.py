"""Evaluation of a system without texts: do images of one label lie together?"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from tfx_pipeline.evaluation.data import EvaluationData, Evaluator
from tfx_pipeline.evaluation.encode import Tower, encode_gallery
from tfx_pipeline.evaluation.gallery import read_labels
from tfx_pipeline.evaluation.metric_keys import KNN_ACCURACY, KNN_NEIGHBOURS
from tfx_pipeline.evaluation.result import EmbeddingSample, Measured, Space
from tfx_pipeline.evaluation.sample import image_labels
from tfx_pipeline.evaluation.zero_shot import mean_with_interval
from vl_models.members import ENCODE_IMAGE, IMAGE_TOWER, TEXT_TOWER
from vl_models.metrics.knn import knn_correct
from vl_models.metrics.retrieval import PerQuery


class Images(Evaluator):
    """Encodes the gallery and classifies each labelled image by its labelled neighbours.

    Its one metric is `KNN_ACCURACY`, the leave-one-out accuracy over the images with a label
    text; NaN with fewer than two of them.
    """

    needs = "image_tower and a gallery"

    def fits(self, data: EvaluationData) -> bool:
        """See `Evaluator`."""
        return IMAGE_TOWER in data.members and data.has_gallery

    def runs_by_default(self, data: EvaluationData) -> bool:
        """For want of something better: all labelled images are compared with all."""
        return TEXT_TOWER not in data.members

    def keys(self, data: EvaluationData) -> list[str]:
        """See `Evaluator`."""
        return [KNN_ACCURACY]

    def measure(self, data: EvaluationData) -> Measured:
        """See `Evaluator`.

        Raises:
            UserError: no gallery or no tower.
        """
        config, labels = data.config, read_labels(data.gallery_dir)
        tower = Tower(data.members[IMAGE_TOWER], ENCODE_IMAGE)
        image_ids, images = encode_gallery(tower, data.gallery_dir, config.batch_size)
        rows = [row for row, name in enumerate(image_ids) if name in labels]
        correct = _correct(images[rows], [labels[image_ids[row]] for row in rows])
        value, interval = mean_with_interval(PerQuery(correct, np.ones(len(correct))), config)
        generator = np.random.default_rng(config.bootstrap.seed)
        shown = np.sort(generator.permutation(len(images))[: config.report.sample])
        sample = EmbeddingSample(
            images=images[shown],
            texts=np.empty((0, images.shape[1]), np.float32),
            image_labels=image_labels([image_ids[row] for row in shown], labels),
        )
        return Measured(
            metrics={KNN_ACCURACY: value},
            intervals={KNN_ACCURACY: interval},
            counts={"gallery_images": len(image_ids), "labelled_images": len(rows)},
            per_query=pa.table(
                {
                    "direction": pa.array(["image_to_label"] * len(correct), pa.string()),
                    "key": pa.array([image_ids[row] for row in rows[: len(correct)]], pa.string()),
                    KNN_ACCURACY: pa.array(correct),
                }
            ),
            headline=[KNN_ACCURACY],
            note=f"{len(image_ids):,} gallery images, {len(rows):,} of them with a label. Each "
            "labelled image is classified by the votes of the nearest other ones, weighted by "
            "similarity. A tie is wrong. Intervals over images.",
            sections=[Space("Embedding space", sample)],
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
