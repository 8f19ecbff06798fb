"""Evaluation by class: towers of features on a labelled set, as the literature does it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa

from tfx_pipeline.data.feature_set import FeatureSet
from tfx_pipeline.evaluation.config import EvaluationConfig
from tfx_pipeline.evaluation.data import EvaluationData, Evaluator
from tfx_pipeline.evaluation.encode import HashTower, Tower, encode_queries
from tfx_pipeline.evaluation.metric_keys import (
    IMAGE_TO_TEXT,
    MEAN,
    MODALITY_CLASSIFIER,
    MODALITY_GAP,
    MODALITY_SILHOUETTE,
    TEXT_TO_IMAGE,
    class_metric_keys,
)
from tfx_pipeline.evaluation.result import (
    EmbeddingSample,
    Measured,
    Row,
    Space,
    Table,
    Tables,
)
from tfx_pipeline.evaluation.separability import (
    modality_classifier_accuracy,
    modality_silhouette,
)
from tfx_pipeline.evaluation.zero_shot import mean_with_interval
from tfx_pipeline.release.signatures import read_signatures
from vl_models.errors import UserError
from vl_models.hashing import hamming_distances
from vl_models.members import (
    ENCODE_IMAGE,
    ENCODE_TEXT,
    HASH_IMAGE,
    HASH_TEXT,
    IMAGE_TOWER,
    TEXT_TOWER,
)
from vl_models.metrics.bootstrap import Interval
from vl_models.metrics.class_retrieval import ClassRetrieval, class_retrieval, cosine_similarity
from vl_models.metrics.modality_gap import modality_gap
from vl_models.metrics.retrieval import PerQuery

_SMALLEST_NORM = 1e-12
# ACMR's tables cut the ranking here.
_CUT_OFF = 50
# Direction → modality of the queries, modality of the gallery.
_SIDES = {IMAGE_TO_TEXT: ("image", "text"), TEXT_TO_IMAGE: ("text", "image")}


class Classes(Evaluator):
    """Encodes the evaluated splits, lets each modality search the other, and measures the gap.

    The gallery of a direction is the other modality of the same splits, the query's own partner
    included. Towers that hash are ranked by the Hamming distance of their codes, ties in the
    order of the data, and by cosine under ``float/…``; others by cosine. The configuration gives
    splits, cut-off (``map_k``; 50 by default beside the whole ranking) and variant
    (``map_denominator``) of mAP.
    """

    needs = "an image_tower and a text_tower of features, and a labelled set of features"

    def fits(self, data: EvaluationData) -> bool:
        """See `Evaluator`."""
        return data.has_towers and data.features is not None

    def keys(self, data: EvaluationData) -> list[str]:
        """See `Evaluator`: those of `class_metric_keys`."""
        return class_metric_keys(data.config.map_k or _CUT_OFF, _hashes(data))

    def measure(self, data: EvaluationData) -> Measured:
        """See `Evaluator`.

        Raises:
            UserError: no rows or no labels in these splits, or towers of other widths.
        """
        config, features = data.config, data.features
        assert features is not None
        image_tower, text_tower = data.members[IMAGE_TOWER], data.members[TEXT_TOWER]
        cut_off, hashes = config.map_k or _CUT_OFF, _hashes(data)
        rows = features.rows(*config.splits)
        images, texts = rows[features.has_image[rows]], rows[features.has_text[rows]]
        _check_rows(features, config, images, texts)
        size = config.batch_size
        read = {"image": features.image[images], "text": features.text[texts]}
        embedded = {
            "image": encode_queries(Tower(image_tower, ENCODE_IMAGE), read["image"], size),
            "text": encode_queries(Tower(text_tower, ENCODE_TEXT), read["text"], size),
        }
        labels = {"image": features.label[images], "text": features.label[texts]}
        ids = {"image": images, "text": texts}
        metrics: dict[str, float] = {}
        intervals: dict[str, Interval] = {}
        found = _search(cosine_similarity, embedded, labels, config)
        _measure("float/" if hashes else "", found, cut_off, config, metrics, intervals)
        if hashes:
            codes = {
                "image": encode_queries(HashTower(image_tower, HASH_IMAGE), read["image"], size),
                "text": encode_queries(HashTower(text_tower, HASH_TEXT), read["text"], size),
            }
            found = _search(_hamming_similarity, codes, labels, config)
            _measure("", found, cut_off, config, metrics, intervals)
        tables = [_table(direction, ids[_SIDES[direction][0]], f) for direction, f in found.items()]
        pair, seed = (embedded["image"], embedded["text"]), config.bootstrap.seed
        metrics[MODALITY_GAP] = modality_gap(*pair)
        metrics[MODALITY_CLASSIFIER] = modality_classifier_accuracy(*pair, seed)
        metrics[MODALITY_SILHOUETTE] = modality_silhouette(*pair, seed)
        counts = {
            "images": len(images),
            "texts": len(texts),
            "classes": int(labels["image"].any(axis=0).sum()),
        }
        return Measured(
            metrics=metrics,
            intervals=intervals,
            counts=counts,
            per_query=pa.concat_tables(tables),
            headline=[
                *(key for key in metrics if key.startswith("map@") and key.endswith(MEAN)),
                MODALITY_GAP,
                MODALITY_CLASSIFIER,
                MODALITY_SILHOUETTE,
            ],
            note=f"{', '.join(config.splits)} split: {counts['images']:,} images, "
            f"{counts['texts']:,} texts, {counts['classes']:,} classes. Each item searches the "
            "other modality; what shares a class with it is relevant. Equal scores keep the order "
            "of the data. Intervals over queries.",
            sections=[
                _section(metrics, found, config),
                Space(
                    "Embedding space",
                    _sample(features, embedded, ids, config),
                    before=_sample_before(features, ids, config),
                    gap=MODALITY_GAP,
                ),
            ],
        )


def _hashes(data: EvaluationData) -> bool:
    return HASH_IMAGE in read_signatures(data.members[IMAGE_TOWER])


def _section(
    metrics: dict[str, float], found: dict[str, ClassRetrieval], config: EvaluationConfig
) -> Tables:
    """Every measure in both directions and their mean, and the curves of precision."""
    columns = (IMAGE_TO_TEXT, TEXT_TO_IMAGE, MEAN)
    names = [key.removesuffix(f"/{MEAN}") for key in metrics if key.endswith(f"/{MEAN}")]
    table = Table(
        ("metric", *(column.replace("_", " ") for column in columns)),
        tuple(Row((name,), tuple(f"{name}/{column}" for column in columns)) for name in names),
    )
    over = {
        "relevant": "divided by all relevant items",
        "hits": "divided by the hits within the cut-off",
        "min": "divided by min(relevant items, cut-off)",
    }[config.map_denominator]
    note = f"mAP: {over}. Curve: the best precision at or beyond each recall, mean over queries."
    curves = {direction: retrieval.precision for direction, retrieval in found.items()}
    return Tables("Retrieval", (table,), note, curves)


def _check_rows(
    data: FeatureSet, config: EvaluationConfig, images: np.ndarray, texts: np.ndarray
) -> None:
    if not (len(images) and len(texts)):
        raise UserError(
            f"There is nothing to evaluate in splits {config.splits}: {len(images)} images and "
            f"{len(texts)} texts. The data hold {data.counts()}; choose others with --split."
        )
    if not data.label.any():
        raise UserError(
            "The data have no labels, and without classes nothing is relevant. Give them with "
            "`vlsearch data features --label KEY`."
        )


def _search(
    similarity: Callable[[np.ndarray, np.ndarray], Callable[[slice], np.ndarray]],
    rows: dict[str, np.ndarray],
    labels: dict[str, np.ndarray],
    config: EvaluationConfig,
) -> dict[str, ClassRetrieval]:
    """Return retrieval in each direction."""
    return {
        direction: class_retrieval(
            similarity(rows[query], rows[gallery]),
            labels[query],
            labels[gallery],
            (None, config.map_k or _CUT_OFF),
            config.map_denominator,
        )
        for direction, (query, gallery) in _SIDES.items()
    }


def _hamming_similarity(queries: np.ndarray, gallery: np.ndarray) -> Callable[[slice], np.ndarray]:
    return lambda rows: -hamming_distances(queries[rows], gallery)


def _measure(
    prefix: str,
    found: dict[str, ClassRetrieval],
    cut_off: int,
    config: EvaluationConfig,
    metrics: dict[str, float],
    intervals: dict[str, Interval],
) -> None:
    """Add the metrics of both directions and their means."""
    for direction, retrieval in found.items():
        for name, values in _measures(retrieval, cut_off).items():
            counted = PerQuery(np.nan_to_num(values), (~np.isnan(values)).astype(float))
            key = f"{prefix}{name}/{direction}"
            metrics[key], intervals[key] = mean_with_interval(counted, config)
    for name in _measures(retrieval, cut_off):
        both = [metrics[f"{prefix}{name}/{direction}"] for direction in found]
        metrics[f"{prefix}{name}/{MEAN}"] = float(np.mean(both))


def _measures(found: ClassRetrieval, cut_off: int) -> dict[str, np.ndarray]:
    """Values of each query, by the metric's name."""
    return {
        "map@all": found.average_precision[None],
        f"map@{cut_off}": found.average_precision[cut_off],
        "auc": found.auc,
    }


def _table(direction: str, rows: np.ndarray, found: ClassRetrieval) -> pa.Table:
    return pa.table(
        {
            "direction": pa.array([direction] * len(rows), pa.string()),
            "key": pa.array([str(row) for row in rows], pa.string()),
            "average_precision": pa.array(found.average_precision[None]),
        }
    )


def _sample(
    data: FeatureSet,
    embedded: dict[str, np.ndarray],
    ids: dict[str, np.ndarray],
    config: EvaluationConfig,
) -> EmbeddingSample:
    """Random rows of each modality, with the name of their first class."""
    generator = np.random.default_rng(config.bootstrap.seed)
    points, names = {}, {}
    for side, rows in ids.items():
        chosen = np.sort(generator.permutation(len(rows))[: config.report.sample])
        points[side] = embedded[side][chosen]
        names[side] = tuple(_name(data, int(row)) for row in rows[chosen])
    return EmbeddingSample(points["image"], points["text"], names["image"], names["text"])


def _sample_before(
    data: FeatureSet, ids: dict[str, np.ndarray], config: EvaluationConfig
) -> EmbeddingSample:
    """Return the same rows as they are without the towers, as directions.

    Features of different widths have no space in common: they are standardised by the train
    split, and the narrower ones are padded with zeros.
    """
    from sklearn.preprocessing import StandardScaler  # scikit-learn takes a second to import

    sides = {"image": data.image, "text": data.text}
    widths = {side: values.shape[1] for side, values in sides.items()}
    directions = {}
    for side, values in sides.items():
        rows = values[ids[side]]
        if len(set(widths.values())) > 1:
            train = values[data.rows("train")]
            rows = StandardScaler().fit(train if len(train) else rows).transform(rows)
            rows = np.pad(rows, ((0, 0), (0, max(widths.values()) - widths[side])))
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        directions[side] = rows / np.maximum(norms, _SMALLEST_NORM)
    return _sample(data, directions, ids, config)


def _name(data: FeatureSet, row: int) -> str:
    return data.label_names[int(data.label[row].argmax())] if data.label[row].any() else ""
