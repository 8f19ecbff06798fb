"""Captions beside what people said: CIDEr, BLEU-4, and a caption from the nearest image."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import tensorflow as tf
import tensorflow_text as tf_text

from tfx_pipeline.evaluation.caption_scores import bleu_4, cider
from tfx_pipeline.evaluation.data import EvaluationData, Evaluator
from tfx_pipeline.evaluation.gallery import read_batches, read_images
from tfx_pipeline.evaluation.metric_keys import CAPTIONS, difference
from tfx_pipeline.evaluation.relevance import Relevance, read_relevance
from tfx_pipeline.evaluation.result import (
    CaptionedImage,
    CaptionedImages,
    Measured,
    Row,
    Table,
    Tables,
)
from tfx_pipeline.evaluation.zero_shot import mean_with_interval
from vl_models.errors import UserError
from vl_models.members import CAPTION, CAPTIONER, IMAGE_BYTES
from vl_models.metrics.retrieval import PerQuery

# Importing TF Text registers the ops of tokenisers inside the SavedModels.
_TOKENIZER_OPS = tf_text

_CIDER, _BLEU, _DISTINCT = f"{CAPTIONS}/cider", f"{CAPTIONS}/bleu_4", f"{CAPTIONS}/distinct"
_NEAREST_CIDER, _NEAREST_BLEU = f"{CAPTIONS}/nearest/cider", f"{CAPTIONS}/nearest/bleu_4"
_LIBRARIES = ("pycocoevalcap", "sacrebleu")


class CaptionsEvaluator(Evaluator):
    """Captions every image that was clicked in the evaluated splits.

    Its references are the queries of those clicks, in whatever language. With towers the caption of
    the nearest training image, its most clicked query, is measured beside it: what one would say
    without writing anything. The difference in CIDEr is image by image.
    """

    needs = "a captioner, clicks, a gallery, and the extra vlsearch[captions]"

    def fits(self, data: EvaluationData) -> bool:
        """See `Evaluator`."""
        installed = all(importlib.util.find_spec(name) is not None for name in _LIBRARIES)
        return CAPTIONER in data.members and data.has_clicks and installed

    def keys(self, data: EvaluationData) -> list[str]:
        """See `Evaluator`."""
        keys = [_CIDER, _BLEU, _DISTINCT]
        if data.has_towers:
            keys += [_NEAREST_CIDER, _NEAREST_BLEU, difference(_NEAREST_CIDER)]
        return keys

    def measure(self, data: EvaluationData) -> Measured:
        """See `Evaluator`.

        Raises:
            UserError: no image of the evaluated splits in the gallery.
        """
        config = data.config
        references = _references(data.relevance)
        captions, scores = _captions(data, set(references))
        if not captions:
            raise UserError(
                "The gallery holds no image of the evaluated splits. "
                f"Received: evaluate.splits={config.splits}"
            )
        ids = list(captions)
        said = [references[name] for name in ids]
        columns = {_CIDER: cider(said, [captions[name] for name in ids])}
        metrics = {
            _BLEU: bleu_4(said, [captions[name] for name in ids]),
            _DISTINCT: len(set(captions.values())) / len(ids),
        }
        nearest: dict[str, str] = {}
        if data.has_towers:
            nearest = _of_neighbours(data, ids)
            others = [nearest[name] for name in ids]
            columns[_NEAREST_CIDER] = cider(said, others)
            columns[difference(_NEAREST_CIDER)] = columns[_CIDER] - columns[_NEAREST_CIDER]
            metrics[_NEAREST_BLEU] = bleu_4(said, others)
        found = {
            key: mean_with_interval(PerQuery(values, np.ones(len(ids))), config)
            for key, values in columns.items()
        }
        return Measured(
            metrics={**metrics, **{key: value for key, (value, _) in found.items()}},
            intervals={key: interval for key, (_, interval) in found.items()},
            counts={"captioned_images": len(ids)},
            per_query=pa.table(
                {
                    "direction": pa.array([CAPTIONS] * len(ids), pa.string()),
                    "key": pa.array(ids, pa.string()),
                    "caption": [captions[name] for name in ids],
                    "caption_score": pa.array([scores[name] for name in ids], pa.float64()),
                    **{key: pa.array(values) for key, values in columns.items()},
                }
            ),
            headline=[_CIDER, _BLEU, *([difference(_NEAREST_CIDER)] if nearest else [])],
            note=f"{len(ids):,} images, captioned; references are the queries of their clicks in "
            f"the {', '.join(config.splits)} split. Intervals over images.",
            sections=[_table(data, len(ids)), _pictures(data, captions, nearest, references)],
        )


def _references(relevance: Relevance) -> dict[str, list[str]]:
    """Queries that people clicked each image for in the evaluated splits, the commonest first."""
    order = np.lexsort((relevance.pair_query, -relevance.pair_clicks))
    found: dict[str, list[str]] = {}
    for pair in order:
        if relevance.pair_counted[pair]:
            text = relevance.queries[relevance.pair_query[pair]]
            found.setdefault(str(relevance.pair_image[pair]), []).append(text)
    return found


def _captions(data: EvaluationData, wanted: set[str]) -> tuple[dict[str, str], dict[str, float]]:
    """Captions and their scores by image id, in the order of the gallery."""
    # The signature's variables live as long as the loaded object does.
    loaded: Any = tf.saved_model.load(str(data.members[CAPTIONER]))
    caption = loaded.signatures[CAPTION]
    captions: dict[str, str] = {}
    scores: dict[str, float] = {}
    for ids, encoded in read_batches(data.gallery_dir, data.config.batch_size):
        rows = [row for row, name in enumerate(ids) if name in wanted]
        if not rows:
            continue
        found = caption(**{IMAGE_BYTES: tf.constant(encoded[rows])})
        for row, text, score in zip(rows, found["caption"].numpy(), found["score"].numpy()):
            captions[ids[row]] = text.decode("utf-8")
            scores[ids[row]] = float(score)
    return captions, scores


def _of_neighbours(data: EvaluationData, ids: Sequence[str]) -> dict[str, str]:
    """The most clicked training query of the nearest other image that has one."""
    train = _references(read_relevance(data.relevance_path, ["train"]))
    encoded = data.of_all_images
    row_of = {name: row for row, name in enumerate(encoded[0])}
    known = np.array([row for name, row in row_of.items() if name in train], np.int64)
    found = {}
    for name in ids:
        others = known[known != row_of[name]]
        cosines = encoded[1][others] @ encoded[1][row_of[name]]
        found[name] = train[encoded[0][others[np.argmax(cosines)]]][0] if others.size else ""
    return found


def _table(data: EvaluationData, count: int) -> Tables:
    rows = [Row(("captions", f"{count:,}"), (_CIDER, _BLEU, _DISTINCT))]
    if data.has_towers:
        rows.append(Row(("of the nearest training image", ""), (_NEAREST_CIDER, _NEAREST_BLEU)))
        rows.append(Row(("difference", ""), (difference(_NEAREST_CIDER),)))
    note = (
        "CIDEr: how much of what people said, rare words counting more, on a scale to 10. "
        "BLEU-4: of the whole, 0 to 1. Distinct: share of captions that are different."
    )
    heads = ("what", "images", "CIDEr", "BLEU-4", "distinct")
    return Tables("Captions", (Table(heads, tuple(rows)),), note)


def _pictures(
    data: EvaluationData,
    captions: Mapping[str, str],
    nearest: Mapping[str, str],
    references: Mapping[str, Sequence[str]],
) -> CaptionedImages:
    """A random sample of images with what was written and what people said."""
    draw = np.random.default_rng(data.config.bootstrap.seed)
    ids = list(captions)
    shown = [ids[place] for place in draw.permutation(len(ids))[: data.config.report.queries]]
    encoded = read_images(data.gallery_dir, shown)
    images = tuple(
        CaptionedImage(
            name, encoded[name], captions[name], nearest.get(name, ""), tuple(references[name][:4])
        )
        for name in shown
    )
    return CaptionedImages("Captioned images", images, "A random sample.")
