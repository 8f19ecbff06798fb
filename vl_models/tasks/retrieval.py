"""Fine-tuning for retrieval: which of several texts belongs to an image?"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from vl_models.batch import Batch, Outputs
from vl_models.distribution import global_mean
from vl_models.fusion.embedded import embedded_image, has_pairs
from vl_models.layers import initializers
from vl_models.losses.negatives import draw_several
from vl_models.row_random import stream_seed
from vl_models.tasks.base import Task
from vl_models.tasks.fusion_config import RetrievalConfig
from vl_models.tasks.itm import matching_head
from vl_models.tasks.matching import Mismatches, Pass, fuse_passes

if TYPE_CHECKING:
    from vl_models.models.fusion_config import FusionConfig

_TEXTS = 64
_EXCLUDED = -1e9


class TextRetrieval(Task):
    """Cross-entropy of an image's own text among it and texts drawn from the global batch.

    The head has one score. A warm start that brings a matching head makes it that head's row of
    pairs; the matching head itself stays as it is.
    Source: Kim et al., "ViLT", section 4.3 and its published program (15 other texts, `rank_output`
    from row 1 of the matching head, which is frozen).

    Args:
        config: options.
        model: configuration of the system.
    """

    config: RetrievalConfig

    def __init__(self, config: RetrievalConfig, model: FusionConfig) -> None:
        super().__init__(config)
        self.head = keras.layers.Dense(
            1,
            kernel_initializer=initializers.normal(0.02),
            dtype=model.precision,
            name="retrieval_head",
        )
        self.matching_head: keras.layers.Dense | None = None
        if not any(task.kind == "itm" for task in model.tasks):
            self.matching_head = matching_head(model)

    def build(self, width: int) -> None:
        """Create the head, and a matching head that only a warm start fills."""
        super().build(width)
        if self.matching_head is not None:
            for variable in self.matching_head.variables:
                variable.trainable = False

    def forward(self, model: Any, batch: Batch, outputs: Outputs, training: bool) -> Outputs:
        """Score each image with its text and others.

        Returns:
            ``retrieval_logits`` float32 [B, 1 + N], the pair first, and ``retrieval_mask`` of its
            shape; nothing if a modality is absent.
        """
        if not has_pairs(outputs):
            return {}
        rows = embedded_image(outputs).values.shape[0]
        mismatches = Mismatches.of_batch(batch, rows, self.config.exclude_known)
        texts, found = draw_several(
            mismatches.texts, stream_seed(batch["seed"], _TEXTS), self.config.negatives
        )
        own = mismatches.index
        one = tf.ones_like(own, tf.float32)
        passes = [Pass(own, own, one, one)]
        passes += [Pass(texts[:, place], own, 0.0 * one, one) for place in range(texts.shape[1])]
        scores = self.head(fuse_passes(model, batch, outputs, passes, training).pooled)
        logits = tf.transpose(tf.reshape(tf.cast(scores, tf.float32), [len(passes), rows]))
        mask = tf.concat([tf.ones_like(found[:, :1]), found], axis=1)
        return {"retrieval_logits": logits, "retrieval_mask": mask}

    def losses(self, batch: Batch, outputs: Outputs) -> dict[str, tf.Tensor]:
        """``retrieval``; nothing if a modality is absent."""
        if "retrieval_logits" not in outputs:
            return {}
        logits = tf.where(outputs["retrieval_mask"], outputs["retrieval_logits"], _EXCLUDED)
        entropy = -tf.nn.log_softmax(logits)[:, 0]
        return {"retrieval": self.config.weight * global_mean(entropy)}

    def after_warm_start(self, loaded: Collection[str]) -> None:
        """Start from a matching head, unless the retrieval head itself was loaded."""
        source = self.matching_head
        if source is None or source.kernel.path not in loaded or self.head.kernel.path in loaded:
            return
        self.head.kernel.assign(source.kernel[:, 1:])
        self.head.bias.assign(source.bias[1:])

    def abilities(self, model: Any) -> Mapping[str, Callable[..., tf.Tensor]]:
        """``score_pairs``: the head's score."""

        def score_pairs(batch: Batch) -> tf.Tensor:
            return tf.cast(self.head(model.fuse_batch(batch).pooled)[:, 0], tf.float32)

        return {"score_pairs": score_pairs}
