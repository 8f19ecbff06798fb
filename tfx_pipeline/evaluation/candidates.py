"""The images that a reranker looks at for each query, and rankings of what it makes of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tfx_pipeline.evaluation.data import EvaluationData
from tfx_pipeline.evaluation.gallery import read_images
from tfx_pipeline.evaluation.metric_keys import RERANK_TOKENS
from tfx_pipeline.evaluation.pair_scorer import PairScorer
from vl_models.errors import UserError
from vl_models.members import RERANKER
from vl_models.metrics.ranking import COSINE_TIE_TOLERANCE, Ranking, rank_blocks

_LARGEST_GALLERY = 2000  # without towers every image is scored for every query
_ABOVE_ALL_COSINES = 2.0


@dataclass(frozen=True)
class Candidates:
    """The first images of the towers for each query; without towers, all images.

    Attributes:
        rows: int64 [R], rows of the queries that have a counted positive.
        items: int64 [R, K], rows of the images, the towers' best first.
        cosines: float32 [R, K] of the towers; zeros without.
    """

    rows: np.ndarray
    items: np.ndarray
    cosines: np.ndarray


def find_candidates(data: EvaluationData) -> Candidates:
    """Let the towers choose.

    Raises:
        UserError: no towers and a large gallery.
    """
    judgements = data.judged.judgements["text_to_image"]
    rows = np.unique(judgements.query[judgements.counted])
    images = len(data.judged.image_ids)
    if not data.has_towers:
        if images > _LARGEST_GALLERY:
            raise UserError(
                f"rerank: without towers every image is scored for every query, and {images:,} "
                f"images are too many (at most {_LARGEST_GALLERY:,}). Release text_tower and "
                "image_tower beside the reranker, or set evaluate.gallery to split."
            )
        items = np.tile(np.arange(images), (len(rows), 1))
        return Candidates(rows, items, np.zeros(items.shape, np.float32))
    count = min(data.config.rerank.candidates, images)
    transposed = np.ascontiguousarray(data.encoded.images.T)
    items = np.empty((len(rows), count), np.int64)
    cosines = np.empty((len(rows), count), np.float32)
    for at, row in enumerate(rows):
        values = data.encoded.texts[row] @ transposed
        items[at] = np.argsort(-values, kind="stable")[:count]
        cosines[at] = values[items[at]]
    return Candidates(rows, items, cosines)


def score_candidates(
    data: EvaluationData, scorer: PairScorer, way: str, candidates: Candidates
) -> np.ndarray:
    """Return the scores of the candidates, float32 [R, K].

    Args:
        data: has the queries and the gallery.
        scorer: of the reranker.
        way: `RERANK`, of each pair's image, or `RERANK_TOKENS`, of images read once.
        candidates: of the queries.
    """
    texts = data.judged.relevance.queries
    query = [texts[row] for row in np.repeat(candidates.rows, candidates.items.shape[1])]
    found = score_pairs(data, scorer, way, query, candidates.items.ravel())
    return found.reshape(candidates.items.shape)


def score_pairs(
    data: EvaluationData, scorer: PairScorer, way: str, texts: list[str], items: np.ndarray
) -> np.ndarray:
    """Return the score of text i and the image in row ``items[i]``, float32 [P].

    Raises:
        UserError: a score is not finite.
    """
    ids = data.judged.image_ids
    unique, place = np.unique(items, return_inverse=True)
    encoded = read_images(data.gallery_dir, {ids[item] for item in unique})
    images = [encoded[ids[item]] for item in unique]
    if way == RERANK_TOKENS:
        scores = scorer.of_tokens(texts, scorer.read(images), place)
    else:
        scores = scorer.of_images(texts, images, place)
    wrong = np.flatnonzero(~np.isfinite(scores))
    if len(wrong):
        raise UserError(
            f"{data.members[RERANKER]}: a reranker's scores are finite numbers. Received: "
            f"score={scores[wrong[0]]} of query {texts[wrong[0]]!r} and image "
            f"{ids[items[wrong[0]]]!r}"
        )
    return scores


def rank_candidates(
    data: EvaluationData, candidates: Candidates, values: np.ndarray | None
) -> Ranking:
    """Rank by what is made of the candidates; all other images follow in the towers' order.

    Args:
        data: has queries, gallery, clicks and embeddings.
        candidates: of the queries.
        values: float [R, K], of which the order counts; None is the towers' own.
    """
    judged = data.judged
    shape = (len(judged.relevance.queries), len(judged.image_ids))
    place_of = {int(row): at for at, row in enumerate(candidates.rows)}

    def block(wanted: np.ndarray) -> np.ndarray:
        if data.has_towers:
            cosines = data.encoded.texts[wanted] @ data.encoded.images.T
        else:
            cosines = np.zeros((len(wanted), shape[1]), np.float32)
        for at, row in enumerate(wanted):
            mine = place_of[int(row)]
            if values is not None:
                # They have any scale: their order counts, above all that are no candidates.
                order = np.unique(values[mine], return_inverse=True)[1]
                cosines[at, candidates.items[mine]] = _ABOVE_ALL_COSINES + order
        return cosines

    return rank_blocks(block, shape, judged.judgements["text_to_image"], COSINE_TIE_TOLERANCE)
