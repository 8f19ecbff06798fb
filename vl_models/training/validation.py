"""The hook "validation": losses and in-batch recall on another split, while training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import islice

import numpy as np
import tensorflow as tf

from vl_models.errors import UserError
from vl_models.losses.positives import PairKeys, known_positives, own_pairs
from vl_models.metrics.in_batch import in_batch_recall
from vl_models.models.base import Batch, Outputs, VisionLanguageModel
from vl_models.training.input import Feed, RecordSource
from vl_models.training.records import START

NAME = "validation"


class Validation:
    """Mean losses and in-batch R@1 over one pass of a split, in evaluation mode; a trainer's hook.

    The same texts are drawn each time, so the curve is the model's, not the draw's. A
    contrastive loss and a recall inside the batch depend on its size: compare curves of equal
    sizes.

    Args:
      source: the split, neither augmented nor shuffled.
      batch_size: rows per batch; fewer if the split has fewer. A last part is left out.
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
        self._feed = Feed(min(batch_size, records), texts_per_image, source_id=source_id)
        self._batches = records // self._feed.batch_size
        self._measured: VisionLanguageModel | None = None

    def __call__(self, step: int, model: VisionLanguageModel) -> Mapping[str, float]:
        """Means by name: every loss, and for dual encoders ``recall@1`` both ways."""
        del step

        if model is not self._measured:
            self._measured, self._measure = model, _measure_of(model)
        values = []
        opened = self._source.open(self._feed, START)
        for batch, _ in islice(opened, self._batches):
            losses, pairs = self._measure(batch)
            recall = {}
            if pairs:
                scores, own, known = (np.asarray(part) for part in pairs)
                recall = in_batch_recall(scores, own, known)
            values.append({**losses, **recall})
        return {name: float(np.mean([value[name] for value in values])) for name in values[0]}


def _measure_of(
    model: VisionLanguageModel,
) -> Callable[[Batch], tuple[dict[str, tf.Tensor], tuple[tf.Tensor, ...]]]:
    """Losses of a batch, and its `_scores_and_pairs`; traced once for all calls of the hook."""

    @tf.function(autograph=False)
    def measure(batch: Batch) -> tuple[dict[str, tf.Tensor], tuple[tf.Tensor, ...]]:
        outputs = model.forward(batch, training=False)
        return model.losses(batch, outputs), _scores_and_pairs(batch, outputs)

    return measure


def _scores_and_pairs(batch: Batch, outputs: Outputs) -> tuple[tf.Tensor, ...]:
    """Cosines, own pairs and known positives, each [B, B·n]; nothing without both embeddings."""
    if not {"image_embedding", "text_embedding"} <= outputs.keys():
        return ()
    images, texts = outputs["image_embedding"], outputs["text_embedding"]
    keys = PairKeys.of_batch(batch, images.shape[0], texts.shape[0])
    scores = tf.matmul(images, texts, transpose_b=True)
    return scores, own_pairs(keys, keys), known_positives(keys, keys)
