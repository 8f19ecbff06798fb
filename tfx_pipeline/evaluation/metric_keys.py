"""Names of the metrics: ``[slice=value/]metric[/direction]``."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from tfx_pipeline.evaluation.config import EvaluationConfig
from vl_models.errors import UserError

MODALITY_GAP = "modality_gap"
MODALITY_CLASSIFIER = "modality_classifier/accuracy"
MODALITY_SILHOUETTE = "modality_silhouette"
MEDIAN_RANK = "median_rank"
IMAGE_TO_TEXT = "image_to_text"
TEXT_TO_IMAGE = "text_to_image"
MEAN = "mean"
ZERO_SHOT = "zero_shot"
RERANK = "rerank"  # by the signature `score`, of queries and images
RERANK_TOKENS = "rerank_tokens"  # by `score_tokens`, of images that were read before
RERANK_WEIGHT = f"{RERANK}/weight"
TWIN_WINS = "twin_wins"
MS_PER_QUERY = "ms_per_query"
RECONSTRUCTION_MSE = "reconstruction_mse"
RECONSTRUCTION_PSNR = "reconstruction_psnr"
CODE_PERPLEXITY = "code_perplexity"
USED_CODES = "used_codes"
ANSWERS = "answers"
CAPTIONS = "captions"
KNN_NEIGHBOURS = 20
_GAPS = (MODALITY_GAP, MODALITY_CLASSIFIER, MODALITY_SILHOUETTE)
KNN_ACCURACY = f"knn@{KNN_NEIGHBOURS}/accuracy"


def measure_names(config: EvaluationConfig) -> list[str]:
    """Names of the ranking measures, without slice and direction."""
    cut_off = "all" if config.map_k is None else str(config.map_k)
    return [
        *(f"recall@{k}" for k in config.ks),
        "mrr",
        MEDIAN_RANK,
        *(f"ndcg@{k}" for k in config.ks),
        f"map@{cut_off}",
        "auc",
    ]


def headline_names(config: EvaluationConfig) -> list[str]:
    """Ranking measures that fit on a line, without slice and direction."""
    return [*(f"recall@{k}" for k in config.ks), "mrr", f"ndcg@{config.ks[-1]}", MEDIAN_RANK]


def with_direction(measure: str, direction: str) -> str:
    """Key of a measure in a direction; text to image is the default and stays unnamed."""
    return measure if direction == TEXT_TO_IMAGE else f"{measure}/{direction}"


def metric_keys(config: EvaluationConfig, slices: Iterable[str]) -> list[str]:
    """Every key that an evaluation yields.

    Args:
        config: of the evaluation.
        slices: ``slice=value`` names that occur in the data; they split text to image.
    """
    names = measure_names(config)
    keys = [with_direction(name, direction) for direction in config.directions for name in names]
    if len(config.directions) > 1:
        keys += [f"{name}/{MEAN}" for name in names]
    keys.append(MODALITY_GAP)
    if TEXT_TO_IMAGE in config.directions:
        keys += [f"{part}/{name}" for part in slices for name in names]
    return keys


def class_metric_keys(cut_off: int, hashes: bool) -> list[str]:
    """Every key of an evaluation by class; both directions are named there, and their mean.

    Args:
        cut_off: of the second mAP.
        hashes: whether the towers give binary codes; then cosine is measured beside them.
    """
    measures = ["map@all", f"map@{cut_off}", "auc"]
    measures += [f"float/{name}" for name in measures] if hashes else []
    keys = [f"{name}/{part}" for name in measures for part in (IMAGE_TO_TEXT, TEXT_TO_IMAGE, MEAN)]
    return [*keys, *_GAPS]


def lower_is_better(key: str) -> bool:
    """True for ranks, times, errors, and all that tells the modalities apart, in any slice."""
    lower = (MEDIAN_RANK, MODALITY_GAP, MS_PER_QUERY, TWIN_WINS)
    return key in (*_GAPS, RECONSTRUCTION_MSE) or any(
        part.startswith(lower) for part in key.split("/")
    )


def paired_names(config: EvaluationConfig) -> list[str]:
    """Ranking measures that are compared query by query before and after reranking."""
    return [*(f"recall@{k}" for k in config.ks), "mrr"]


def before(key: str) -> str:
    """Key of what a measure was in the towers' order."""
    return f"{key}_before"


def difference(key: str) -> str:
    """Key of what is gained over something else, query by query, as by reranking."""
    return f"{key}_difference"


def check_threshold_keys(config: EvaluationConfig, valid: Iterable[str]) -> None:
    """Refuse a threshold on a metric that this evaluation does not yield.

    Raises:
        UserError: names the unknown key and the nearest valid one.
    """
    valid = list(valid)
    for key in config.thresholds:
        if key not in valid:
            nearest = difflib.get_close_matches(key, valid, n=1, cutoff=0.0)[0]
            raise UserError(
                f"evaluation.thresholds: this evaluation has no metric {key!r}; "
                f"the nearest is {nearest!r}. Received: thresholds={sorted(config.thresholds)}"
            )
