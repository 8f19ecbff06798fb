"""Queries, gallery and clicks of one evaluation, aligned by row and encoded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tfx_pipeline.evaluation.config import Direction, EvaluationConfig
from tfx_pipeline.evaluation.encode import Tower, encode_gallery, encode_queries
from tfx_pipeline.evaluation.relevance import Relevance
from vl_models.errors import UserError
from vl_models.metrics.judgements import Judgements


@dataclass(frozen=True)
class JudgedData:
    """What is ranked.

    Attributes:
        relevance: the evaluated queries, with only the pairs whose image is in the gallery.
        image_ids: N ids.
        judgements: of each direction; rows are those of the queries and the images.
        pairs_without_image: evaluated pairs that are left out.
    """

    relevance: Relevance
    image_ids: list[str]
    judgements: dict[Direction, Judgements]
    pairs_without_image: int


@dataclass(frozen=True)
class EncodedData(JudgedData):
    """What is ranked, encoded.

    Attributes:
        texts: float32[Q, D], one row per query of ``relevance``.
        images: float32[N, D].
    """

    texts: np.ndarray
    images: np.ndarray


def evaluated_images(relevance: Relevance, config: EvaluationConfig) -> set[str] | None:
    """Ids of the images that are searched; None is the whole gallery."""
    if config.gallery == "all":
        return None
    return set(relevance.pair_image[relevance.pair_counted])


def judge(
    relevance: Relevance, image_ids: list[str], gallery_dir: str | Path, config: EvaluationConfig
) -> JudgedData:
    """Find each pair's rows.

    Raises:
        UserError: no evaluated pair has its image in the gallery.
    """
    row_of = {image_id: row for row, image_id in enumerate(image_ids)}
    in_gallery = np.fromiter((name in row_of for name in relevance.pair_image), bool)
    pairs = relevance.select(in_gallery)
    if not pairs.pair_counted.any():
        raise UserError(
            f"None of the {int(relevance.pair_counted.sum())} evaluated pairs has its image in "
            f"the gallery {gallery_dir}; do they belong to the same store? Received: "
            f"image_id={relevance.pair_image[0]!r} in the pairs, {image_ids[0]!r} in the gallery"
        )
    query = pairs.pair_query
    image = np.fromiter((row_of[name] for name in pairs.pair_image), np.int64)
    gain = pairs.pair_clicks if config.gain == "clicks" else pairs.pair_weight
    counted = pairs.pair_counted
    queries, images = len(relevance.queries), len(image_ids)
    return JudgedData(
        relevance=pairs,
        image_ids=image_ids,
        judgements={
            "text_to_image": Judgements.from_pairs(query, image, queries, gain, counted),
            "image_to_text": Judgements.from_pairs(image, query, images, gain, counted),
        },
        pairs_without_image=int((relevance.pair_counted & ~in_gallery).sum()),
    )


def encode_data(
    text_tower: str | Path,
    image_tower: str | Path,
    gallery_dir: str | Path,
    relevance: Relevance,
    config: EvaluationConfig,
    images: tuple[list[str], np.ndarray] | None = None,
) -> EncodedData:
    """Encode the evaluated queries and the gallery, and find each pair's rows.

    Args:
        text_tower: SavedModel folder.
        image_tower: SavedModel folder.
        gallery_dir: folder of the gallery.
        relevance: the evaluated queries.
        config: what is evaluated.
        images: ids and embeddings of the gallery, if they are known already.

    Raises:
        UserError: wrong towers or gallery, or no evaluated pair has its image in the gallery.
    """
    image_ids, vectors = images or encode_gallery(
        Tower(image_tower, "encode_image"),
        gallery_dir,
        config.batch_size,
        keep=evaluated_images(relevance, config),
    )
    texts = encode_queries(Tower(text_tower, "encode_text"), relevance.queries, config.batch_size)
    if texts.shape[1] != vectors.shape[1]:
        raise UserError(
            "The towers must embed into the same space. "
            f"Received: text width={texts.shape[1]}, image width={vectors.shape[1]}"
        )
    judged = judge(relevance, image_ids, gallery_dir, config)
    return EncodedData(**vars(judged), texts=texts, images=vectors)
