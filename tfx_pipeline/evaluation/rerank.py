"""Reranking: how good is the order of a reranker over the first images of the towers?"""

from __future__ import annotations

import numpy as np
import tensorflow as tf
import tensorflow_text as tf_text

from tfx_pipeline.evaluation.data import EvaluationData, Evaluator
from tfx_pipeline.evaluation.gallery import read_images
from tfx_pipeline.evaluation.measures import per_query_measures, summarise
from tfx_pipeline.evaluation.metric_keys import RERANK, headline_names, measure_names
from tfx_pipeline.evaluation.per_query import direction_table
from tfx_pipeline.evaluation.result import Measured, Row, Table, Tables
from vl_models.errors import UserError
from vl_models.members import IMAGE_BYTES, QUERY, RERANKER, SCORE
from vl_models.metrics.ranking import COSINE_TIE_TOLERANCE, rank_blocks

# Importing TF Text registers the ops of tokenisers inside the SavedModels.
_TOKENIZER_OPS = tf_text

_LARGEST_GALLERY = 2000  # without towers every image is scored for every query
_ABOVE_ALL_COSINES = 2.0


class Rerank(Evaluator):
    """Scores each evaluated query with its candidates by the reranker's ``score`` signature.

    Candidates are the first images of the towers, the others follow in the towers' order;
    without towers, all images are candidates. Measures are those of retrieval from text to image.
    """

    needs = "reranker and clicks"

    def fits(self, data: EvaluationData) -> bool:
        """See `Evaluator`."""
        return RERANKER in data.members and data.has_clicks

    def keys(self, data: EvaluationData) -> list[str]:
        """See `Evaluator`."""
        return [f"{RERANK}/{name}" for name in measure_names(data.config)]

    def measure(self, data: EvaluationData) -> Measured:
        """See `Evaluator`.

        Raises:
            UserError: no towers and a large gallery, or a reranker of other input.
        """
        judged, config = data.judged, data.config
        judgements = judged.judgements["text_to_image"]
        queries, images = len(judged.relevance.queries), len(judged.image_ids)
        rows = np.unique(judgements.query[judgements.counted])
        candidates = _candidates(data, rows)
        scores = _score(data, rows, candidates)
        row_of = {int(row): at for at, row in enumerate(rows)}

        def block(wanted: np.ndarray) -> np.ndarray:
            if data.has_towers:
                values = data.encoded.texts[wanted] @ data.encoded.images.T
            else:
                values = np.zeros((len(wanted), images), np.float32)
            for at, row in enumerate(wanted):
                mine = row_of[int(row)]
                # Scores have any scale: their order counts, above all that are no candidates.
                order = np.unique(scores[mine], return_inverse=True)[1]
                values[at, candidates[mine]] = _ABOVE_ALL_COSINES + order
            return values

        ranking = rank_blocks(block, (queries, images), judgements, COSINE_TIE_TOLERANCE)
        measures = per_query_measures(ranking, config)
        summary = summarise(ranking, measures, config)
        count = candidates.shape[1]
        names = measure_names(config)
        columns = ("metric", "reranked", *(["towers"] if data.has_towers else []))
        table = Table(
            columns,
            tuple(
                Row((name,), (f"{RERANK}/{name}", *([name] if data.has_towers else [])))
                for name in names
            ),
        )
        return Measured(
            metrics={f"{RERANK}/{name}": value for name, (value, _) in summary.items()},
            intervals={f"{RERANK}/{name}": interval for name, (_, interval) in summary.items()},
            counts={"reranked_queries": len(rows), "candidates": count},
            per_query=direction_table(
                RERANK, judged.relevance.queries, ranking, measures, data.slices
            ),
            headline=[f"{RERANK}/{name}" for name in headline_names(config)],
            sections=[
                Tables(
                    "Reranking, text to image",
                    (table,),
                    f"The first {count:,} images of each of {len(rows):,} queries in the "
                    "reranker's order; the others follow. Intervals over queries.",
                )
            ],
        )


def _candidates(data: EvaluationData, rows: np.ndarray) -> np.ndarray:
    """Rows of the images that are scored for each query, int64 [len(rows), K]."""
    images = len(data.judged.image_ids)
    if not data.has_towers:
        if images > _LARGEST_GALLERY:
            raise UserError(
                f"rerank: without towers every image is scored for every query, and {images:,} "
                f"images are too many (at most {_LARGEST_GALLERY:,}). Release text_tower and "
                "image_tower beside the reranker, or set evaluate.gallery to split."
            )
        return np.tile(np.arange(images), (len(rows), 1))
    count = min(data.config.rerank.candidates, images)
    transposed = np.ascontiguousarray(data.encoded.images.T)
    found = np.empty((len(rows), count), np.int64)
    for at, row in enumerate(rows):
        cosines = data.encoded.texts[row] @ transposed
        found[at] = np.argsort(-cosines, kind="stable")[:count]
    return found


def _score(data: EvaluationData, rows: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """Return the reranker's scores of the candidates, float32 of their shape."""
    path = data.members[RERANKER]
    loaded = tf.saved_model.load(str(path))
    score = loaded.signatures[SCORE]
    inputs = score.structured_input_signature[1]
    if set(inputs) != {QUERY, IMAGE_BYTES}:
        raise UserError(
            f"{path}: a reranker is measured with queries and images. "
            f"Received: inputs={sorted(inputs)}"
        )
    ids, texts = data.judged.image_ids, data.judged.relevance.queries
    encoded = read_images(data.gallery_dir, {ids[item] for item in np.unique(candidates)})
    query = np.repeat(rows, candidates.shape[1])
    item = candidates.ravel()
    found = []
    for at in range(0, len(item), data.config.batch_size):
        part = slice(at, at + data.config.batch_size)
        answer = score(
            query=tf.constant([texts[row] for row in query[part]]),
            image_bytes=tf.constant([encoded[ids[row]] for row in item[part]]),
        )
        found.append(answer["score"].numpy())
    return np.concatenate(found).reshape(candidates.shape)
