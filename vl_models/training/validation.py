"""The hook "validation": the losses on another split, while training."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice

import numpy as np
import tensorflow as tf

from vl_models.errors import UserError
from vl_models.models.base import Batch, VisionLanguageModel
from vl_models.training.input import Feed, RecordSource
from vl_models.training.records import START

NAME = "validation"


class ValidationLoss:
    """Mean of every loss over one pass of a split, in evaluation mode; a trainer's hook.

    The same texts are drawn each time, so the curve is the model's, not the draw's. A
    contrastive loss depends on the size of its batch: compare curves of equal sizes.

    Args:
      source: the split, neither augmented nor shuffled.
      batch_size: rows per batch; fewer if the split has fewer. A last part is left out.
      texts_per_image: as in training.

    Raises:
      UserError: the split is empty.
    """

    def __init__(self, source: RecordSource, batch_size: int, texts_per_image: int) -> None:
        records = source.steps_per_epoch(1)
        if records == 0:
            raise UserError(
                f"The hook '{NAME}' needs examples in the split '{source.name}', which is empty. "
                "Remove the hook, or choose splits with a share for it."
            )
        self._source = source
        self._feed = Feed(min(batch_size, records), texts_per_image)
        self._batches = records // self._feed.batch_size

    def __call__(self, step: int, model: VisionLanguageModel) -> Mapping[str, float]:
        """Mean losses by name."""
        del step

        # Made anew at each call: a tf.function kept here would hold on to the first model.
        @tf.function(autograph=False)
        def losses(batch: Batch) -> dict[str, tf.Tensor]:
            return model.losses(batch, model.forward(batch, training=False))

        opened = self._source.open(self._feed, START)
        values = [losses(batch) for batch, _ in islice(opened, self._batches)]
        return {name: float(np.mean([value[name] for value in values])) for name in values[0]}
