"""Answers about images from a closed set: VQA, SNLI-VE and NLVR2."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from vl_models.batch import Batch, Outputs
from vl_models.distribution import global_mean
from vl_models.errors import UserError
from vl_models.fusion.embedded import embedded_image, embedded_text, has_pairs, pair_seeds
from vl_models.fusion.tokens import concatenate
from vl_models.layers.answer_head import AnswerHead
from vl_models.tasks.base import Task
from vl_models.tasks.fusion_config import NLVR2Config, SNLIVEConfig, VQAConfig

if TYPE_CHECKING:
    from vl_models.models.fusion_config import FusionConfig

_FIRST, _SECOND = 8, 9


class Answering(Task):
    """A head over the pooled vector, or over those of two images with one sentence.

    Questions (VQA) have soft scores: binary cross-entropy summed over the answers, the mean over
    rows. Sentences (SNLI-VE, NLVR2) have one class: softmax cross-entropy. The second image of
    NLVR2 has a modality type of its own.
    Source: Kim et al., "ViLT", section 4.2 and its published program.

    Args:
        config: which data set's form.
        model: configuration of the system; holds the data's answers.

    Raises:
        UserError: the data have no answers.
    """

    config: VQAConfig | SNLIVEConfig | NLVR2Config

    def __init__(self, config: VQAConfig | SNLIVEConfig | NLVR2Config, model: FusionConfig) -> None:
        super().__init__(config)
        if not model.answers:
            raise UserError(
                f"model.tasks: {config.kind} learns answers, and the data have none. Make them "
                f"with `vlsearch data {config.kind}`, or take the task out."
            )
        self.two_images = config.kind == "nlvr2"
        self.head = AnswerHead(
            len(model.answers), 2 * model.width, dtype=model.precision, name=f"{config.kind}_head"
        )

    def build(self, width: int) -> None:
        """Create the head."""
        self.head.build((None, 2 * width if self.two_images else width))

    def forward(self, model: Any, batch: Batch, outputs: Outputs, training: bool) -> Outputs:
        """Score the answers: ``answer_logits`` float32 [B, A]; nothing without texts and images."""
        if not has_pairs(outputs) or "answer" not in batch:
            return {}
        return {"answer_logits": self._logits(model, batch, outputs, training)}

    def losses(self, batch: Batch, outputs: Outputs) -> dict[str, tf.Tensor]:
        """The loss, named like the task; nothing without answers."""
        if "answer_logits" not in outputs:
            return {}
        logits, target = outputs["answer_logits"], batch["answer"]
        if self.config.kind == "vqa":
            entropy = tf.nn.sigmoid_cross_entropy_with_logits(target, logits)
            loss = global_mean(tf.reduce_sum(entropy, axis=1))
        else:
            # A class that training does not know has no column: such a row counts for nothing.
            total = tf.reduce_sum(target, axis=1)
            entropy = tf.nn.softmax_cross_entropy_with_logits(
                tf.math.divide_no_nan(target, total[:, None]), logits
            )
            loss = global_mean(entropy, tf.cast(total > 0.0, tf.float32))
        return {self.config.kind: self.config.weight * loss}

    def abilities(self, model: Any) -> Mapping[str, Callable[..., tf.Tensor]]:
        """``answer``: a probability for each answer."""

        def answer(batch: Batch) -> tf.Tensor:
            logits = self._logits(model, batch, model.encode(batch, training=False), False)
            return tf.sigmoid(logits) if self.config.kind == "vqa" else tf.nn.softmax(logits)

        return {"answer": answer}

    def _logits(self, model: Any, batch: Batch, outputs: Outputs, training: bool) -> tf.Tensor:
        text, image = embedded_text(outputs), embedded_image(outputs)
        seeds = pair_seeds(batch, _FIRST) if training else None
        if not self.two_images:
            return self.head(model.fuse(text, image, seeds, training).pooled)
        second = model.embed_image(batch, training, key="image_2", type_index=2)
        if seeds is not None:
            seeds = tf.concat([seeds, pair_seeds(batch, _SECOND)], axis=0)
        fused = model.fuse(concatenate([text, text]), concatenate([image, second]), seeds, training)
        return self.head(tf.concat(tf.split(fused.pooled, 2), axis=1))
