"""Points for the plot of the embedding space, with their labels."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tfx_pipeline.evaluation.config import EvaluationConfig
from tfx_pipeline.evaluation.encoded_data import EncodedData
from tfx_pipeline.evaluation.relevance import Relevance
from tfx_pipeline.evaluation.result import EmbeddingSample


def draw_sample(
    data: EncodedData, labels: Mapping[str, tuple[str, ...]], config: EvaluationConfig
) -> EmbeddingSample:
    """Random images and queries; a query takes the label of its most clicked image.

    Args:
        data: what was ranked.
        labels: label texts by image id; an image of several shows the first.
        config: the size of the sample, and its seed.
    """
    generator = np.random.default_rng(config.bootstrap.seed)
    images = np.sort(generator.permutation(len(data.images))[: config.report.sample])
    texts = np.sort(generator.permutation(len(data.texts))[: config.report.sample])
    image_of = _most_clicked(data.relevance)
    return EmbeddingSample(
        images=data.images[images],
        texts=data.texts[texts],
        image_labels=image_labels([data.image_ids[row] for row in images], labels),
        text_labels=image_labels([image_of.get(int(row), "") for row in texts], labels),
    )


def image_labels(image_ids: list[str], labels: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Return the first label of each image, "" for none; nothing if no image has any."""
    found = tuple(labels[name][0] if name in labels else "" for name in image_ids)
    return found if labels else ()


def _most_clicked(relevance: Relevance) -> dict[int, str]:
    """Row of a query → id of the image with its most clicks, of all splits."""
    order = np.lexsort((relevance.pair_image.astype(str), -relevance.pair_clicks))
    found: dict[int, str] = {}
    for pair in order:
        found.setdefault(int(relevance.pair_query[pair]), relevance.pair_image[pair])
    return found
