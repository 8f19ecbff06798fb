"""R@K as the caption data sets report it (Flickr30k and COCO with the Karpathy splits)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vl_models.metrics.judgements import Judgements
from vl_models.metrics.ranking import rank_scores
from vl_models.metrics.retrieval import recall_at_k


def caption_recall(
    similarity: np.ndarray,
    caption_image: np.ndarray,
    ks: Sequence[int] = (1, 5, 10),
    captions_per_image: int | None = None,
    folds: int = 1,
) -> dict[str, float]:
    """R@K in both directions and their sum.

    An image finds its text if *any* of its captions is in the top K; a caption finds its image
    if that image is. The defaults are the convention of ViLT, VLMo and ALBEF (all captions:
    25,010 in COCO 5k). VSE++ takes ``captions_per_image=5``, and ``folds=5`` for COCO 1k.

    Args:
      similarity: float[images, captions].
      caption_image: int[captions], row of the image of each caption.
      ks: cut-offs.
      captions_per_image: keep the first so many captions of each image; None keeps all.
      folds: split the images into so many runs of consecutive rows, rank within each, and
        average.

    Returns:
      ``recall@K`` (text to image), ``recall@K/image_to_text`` and ``rsum``, all in [0, 1]
      units (``rsum`` is the sum of 2 · len(ks) of them).

    Raises:
      ValueError: the number of images is not divisible by ``folds``.
    """
    caption_image = np.asarray(caption_image, np.int64)
    num_images = len(similarity)
    if num_images % folds:
        raise ValueError(
            f"Images must divide evenly into folds. Received: images={num_images}, folds={folds}"
        )
    if captions_per_image is not None:
        kept = np.flatnonzero(_number_within_image(caption_image) < captions_per_image)
        similarity, caption_image = similarity[:, kept], caption_image[kept]
    size = num_images // folds
    per_fold = []
    for first in range(0, num_images, size):
        columns = np.flatnonzero((caption_image >= first) & (caption_image < first + size))
        block = similarity[first : first + size, columns]
        per_fold.append(_recalls(block, caption_image[columns] - first, ks))
    result = {key: float(np.mean([fold[key] for fold in per_fold])) for key in per_fold[0]}
    result["rsum"] = sum(result.values())
    return result


def _number_within_image(caption_image: np.ndarray) -> np.ndarray:
    """0-based number of each caption among the captions of its image, in order."""
    order = np.argsort(caption_image, kind="stable")
    grouped = caption_image[order]
    number = np.empty(len(order), np.int64)
    number[order] = np.arange(len(order)) - np.searchsorted(grouped, grouped)
    return number


def _recalls(
    similarity: np.ndarray, caption_image: np.ndarray, ks: Sequence[int]
) -> dict[str, float]:
    images, captions = similarity.shape
    rows = np.arange(captions)
    to_image = rank_scores(similarity.T, Judgements.from_pairs(rows, caption_image, captions))
    to_text = rank_scores(similarity, Judgements.from_pairs(caption_image, rows, images))
    result = {f"recall@{k}": recall_at_k(to_image, k, "queries").mean() for k in ks}
    for k in ks:
        result[f"recall@{k}/image_to_text"] = recall_at_k(to_text, k, "queries").mean()
    return result
