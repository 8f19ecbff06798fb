"""Classes are to be readable from the vectors of both modalities."""

from __future__ import annotations

import tensorflow as tf

from vl_models.batch import Batch, Outputs
from vl_models.distribution import global_mean
from vl_models.errors import UserError
from vl_models.layers.classifier import Classifier
from vl_models.losses.labels import label_cross_entropy, labels_of
from vl_models.tasks.base import Task, vectors
from vl_models.tasks.config import LabelClassifierConfig


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
