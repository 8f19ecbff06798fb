"""The hook "validation": losses and in-batch recall on another split, while training."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice

import numpy as np
import tensorflow as tf

from vl_models.batch import Batch, Outputs
from vl_models.errors import UserError
from vl_models.input.records import START
from vl_models.input.source import Feed, RecordSource
from vl_models.losses.positives import PairHashes, known_positives, own_pairs
from vl_models.metrics.class_retrieval import class_retrieval, cosine_similarity
from vl_models.metrics.in_batch import in_batch_recall
from vl_models.models.base import VisionLanguageModel

NAME = "validation"

# Opening the input takes about a second, many times what a small split takes to measure.
_KEPT_BYTES = 64 * 2**20


class Validation:
    """Mean losses and in-batch R@1 over one pass of a split, in evaluation mode; a trainer's hook.

    Where batches hold classes, mAP by class over the whole pass, too.

    The same texts are drawn each time, so the curve is the model's, not the draw's. A
    contrastive loss and a recall inside the batch depend on its size: compare curves of equal
    sizes.

    Args:
        source: the split, neither augmented nor shuffled.
        batch_size: rows per batch; fewer if the split has fewer. A last part is left out. With
            classes, whose measures do not depend on it, rows per batch at most: the parts are as
            even as they can be, so that fewer rows are left out than there are batches.
        texts_per_image: as in training.
        source_id: the source in training whose rows these count as.

    Raises:
        UserError: the split is empty.
    """

    def __init__(
        self, source: RecordSource, batch_size: int, texts_per_image: int, source_id: int = 0
    ) -> None:
        records = source.steps_per_epoch(1)
        if records == 0:
            raise UserError(
                f"The hook '{NAME}' needs examples in the split '{source.name}', which is empty. "
                "Remove the hook, or choose splits with a share for it."
            )
        self._source = source
        size = min(batch_size, records)
        if source.has_classes:
            size = records // math.ceil(records / size)
        self._feed = Feed(size, texts_per_image, source_id=source_id)
        self._batches = records // size
        self._kept: list[Batch] | None = None
        self._measured: VisionLanguageModel | None = None

    def __call__(self, step: int, model: VisionLanguageModel) -> Mapping[str, float]:
        """Values by name.

        Means of every loss and, for dual encoders, of ``recall@1`` both ways; with classes
        ``map@all/image_to_text``, ``map@all/text_to_image`` and ``map@all/mean``.
        """
        del step

        if model is not self._measured:
            self._measured, self._measure = model, _measure_of(model)
        values, embedded = [], []
        for batch in self._read():
            losses, pairs = self._measure(batch)
            recall = {}
            if pairs:
                images, texts, own, known = (np.asarray(part) for part in pairs)
                recall = in_batch_recall(images @ texts.T, own, known)
                if "label" in batch:
                    embedded.append((images, texts, batch["label"].numpy()))
            values.append({**losses, **recall})
        means = {name: float(np.mean([value[name] for value in values])) for name in values[0]}
        return means | _class_map(embedded)

    def _read(self) -> Iterator[Batch]:
        """Return the batches, the same at every call: those of a small split are kept."""
        if self._kept is not None:
            yield from self._kept
            return
        kept: list[Batch] = []
        size = 0
        for batch, _ in islice(self._source.open(self._feed, START), self._batches):
            size += sum(value.dtype.size * value.shape.num_elements() for value in batch.values())
            if size <= _KEPT_BYTES:
                kept.append(batch)
            yield batch
        if size <= _KEPT_BYTES:
            self._kept = kept


def _measure_of(
    model: VisionLanguageModel,
) -> Callable[[Batch], tuple[dict[str, tf.Tensor], tuple[tf.Tensor, ...]]]:
    """Losses of a batch, and its `_embedded_pairs`; traced once for all calls of the hook."""

    @tf.function(autograph=False)
    def measure(batch: Batch) -> tuple[dict[str, tf.Tensor], tuple[tf.Tensor, ...]]:
        outputs = model.forward(batch, training=False)
        return model.losses(batch, outputs), _embedded_pairs(batch, outputs)

    return measure


def _embedded_pairs(batch: Batch, outputs: Outputs) -> tuple[tf.Tensor, ...]:
    """Embeddings [B, D] and [B·n, D], own pairs and known positives [B, B·n]; or nothing."""
    if not {"image_embedding", "text_embedding"} <= outputs.keys():
        return ()
    images, texts = outputs["image_embedding"], outputs["text_embedding"]
    keys = PairHashes.of_batch(batch, images.shape[0], texts.shape[0])
    return images, texts, own_pairs(keys, keys), known_positives(keys, keys)


def _class_map(embedded: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> dict[str, float]:
    """mAP by class in both directions and their mean, of (images, texts, labels of images)."""
    if not embedded:
        return {}
    images, texts, labels = (np.concatenate(part) for part in zip(*embedded))
    text_labels = np.repeat(labels, len(texts) // len(images), axis=0) > 0
    sides = {"image_to_text": (images, labels > 0, texts, text_labels)}
    sides["text_to_image"] = (texts, text_labels, images, labels > 0)
    found = {}
    for direction, (queries, query_labels, gallery, gallery_labels) in sides.items():
        scores = cosine_similarity(queries, gallery)
        retrieval = class_retrieval(scores, query_labels, gallery_labels)
        found[f"map@all/{direction}"] = retrieval.mean_average_precision()
    return {**found, "map@all/mean": float(np.mean(list(found.values())))}
