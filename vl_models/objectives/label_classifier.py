"""Classes are to be readable from the vectors of both modalities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import keras
import tensorflow as tf
from pydantic import NonNegativeFloat, PositiveInt

from vl_models.distribution import global_mean
from vl_models.layers.classifier import Classifier
from vl_models.models.base import Batch, Outputs
from vl_models.objectives.base import Objective, codes
from vl_models.strict_config import StrictConfig


class LabelClassifierConfig(StrictConfig):
    """Configuration of `LabelClassifier`.

    Attributes:
      kind: "label_classifier".
      weight: of the loss.
      shared: one classifier for both modalities, or one for each.
      hidden: widths of its layers before the scores.
    """

    kind: Literal["label_classifier"] = "label_classifier"
    weight: NonNegativeFloat = 1.0
    shared: bool = True
    hidden: tuple[PositiveInt, ...] = ()


class LabelClassifier(Objective):
    """Softmax cross-entropy of the labels, the mean over rows summed over the modalities.

    A row's target is spread evenly over its labels; a row without labels counts for nothing.
    Source: Wang et al., "Adversarial Cross-Modal Retrieval", equation 3.

    Args:
      config: options.
      num_labels: C.
    """

    def __init__(self, config: LabelClassifierConfig, num_labels: int) -> None:
        self.config = config
        names = ("label_classifier",) * 2
        if not config.shared:
            names = ("image_label_classifier", "text_label_classifier")
        made = {
            name: Classifier(num_labels, config.hidden, dtype="float32", name=name)
            for name in dict.fromkeys(names)
        }
        self.classifiers = tuple(made[name] for name in names)

    @property
    def layers(self) -> Sequence[keras.layers.Layer]:
        """The classifier, or that of the images and that of the texts."""
        return tuple(dict.fromkeys(self.classifiers))

    def losses(self, batch: Batch, outputs: Outputs) -> dict[str, tf.Tensor]:
        """``label_classifier``; nothing if the batch has no labels."""
        if "label" not in batch:
            return {}
        total = tf.constant(0.0)
        for code, classifier in zip(codes(outputs), self.classifiers):
            if code is not None:
                labels = labels_of(batch, code.shape[0])
                total += global_mean(*label_cross_entropy(classifier(code), labels))
        return {"label_classifier": self.config.weight * total}


def labels_of(batch: Batch, rows: int) -> tf.Tensor:
    """Labels of codes, multi-hot float32 [rows, C]: of the texts of an image those of the image."""
    label = tf.cast(batch["label"], tf.float32)
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
