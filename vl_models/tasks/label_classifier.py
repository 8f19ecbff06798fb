"""Classes are to be readable from the vectors of both modalities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import keras
import tensorflow as tf
from pydantic import NonNegativeFloat, PositiveInt

from vl_models.errors import UserError
from vl_models.tasks.config import LabelClassifierConfig
from vl_models.distribution import global_mean
from vl_models.layers.classifier import Classifier
from vl_models.models.base import Batch, Outputs
from vl_models.tasks.base import Task, vectors


class LabelClassifier(Task):
    """Softmax cross-entropy of the labels, the mean over rows summed over the modalities.

    A row's target is spread evenly over its labels; a row without labels counts for nothing.
    Source: Wang et al., "Adversarial Cross-Modal Retrieval", equation 3.

    Args:
      config: options.
      num_labels: C; None if the data have no labels.
      num_text_labels: classes of ``text_label``; None if the texts have the images' labels.

    Raises:
      UserError: the data have no labels.
    """

    config: LabelClassifierConfig

    def __init__(
        self,
        config: LabelClassifierConfig,
        num_labels: int | None,
        num_text_labels: int | None = None,
    ) -> None:
        if num_labels is None:
            raise UserError(
                "model.tasks: label_classifier needs classes, and the data have none "
                "(label ids). Take it out, or give the data labels."
            )
        super().__init__(config)
        self.labels_differ = not config.shared and num_text_labels is not None

        def make(name: str, classes: int) -> Classifier:
            return Classifier(classes, config.hidden_widths, dtype="float32", name=name)

        if config.shared:
            self.classifiers = (make("label_classifier", num_labels),) * 2
        else:
            self.classifiers = (
                make("image_label_classifier", num_labels),
                make("text_label_classifier", num_text_labels or num_labels),
            )

    def losses(self, batch: Batch, outputs: Outputs) -> dict[str, tf.Tensor]:
        """``label_classifier``; nothing if the batch has no labels."""
        if "label" not in batch:
            return {}
        total = tf.constant(0.0)
        keys = ("label", "text_label" if self.labels_differ else "label")
        for vector, classifier, key in zip(vectors(outputs), self.classifiers, keys):
            if vector is not None:
                labels = labels_of(batch, vector.shape[0], key)
                total += global_mean(*label_cross_entropy(classifier(vector), labels))
        return {"label_classifier": self.config.weight * total}


def labels_of(batch: Batch, rows: int, key: str = "label") -> tf.Tensor:
    """Labels of vectors, multi-hot float32 [rows, C]: of the texts of an image those of its row."""
    label = tf.cast(batch[key], tf.float32)
    return tf.repeat(label, rows // label.shape[0], axis=0)


def label_cross_entropy(scores: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Softmax cross-entropy, the target being spread evenly over a row's labels.

    Args:
      scores: [B, C].
      labels: multi-hot float32 [B, C].

    Returns:
      Loss float32 [B] of each row, and 1 where it has labels, else 0.
    """
    number = tf.reduce_sum(labels, axis=1)
    target = tf.math.divide_no_nan(labels, number[:, None])
    losses = tf.nn.softmax_cross_entropy_with_logits(target, scores)
    return losses, tf.cast(number > 0, tf.float32)
