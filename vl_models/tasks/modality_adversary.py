"""A classifier tells image vectors from text vectors; the towers learn to defeat it."""

from __future__ import annotations

import tensorflow as tf

from vl_models.batch import Batch, Outputs
from vl_models.distribution import global_mean, replica_count
from vl_models.layers.classifier import Classifier
from vl_models.layers.gradient_reversal import GradientReversal
from vl_models.layers.meter import Meter
from vl_models.losses.modality import IMAGE, TEXT, modality_cross_entropy
from vl_models.tasks.base import Task, vectors
from vl_models.tasks.config import ModalityAdversaryConfig


class ModalityAdversary(Task):
    """Cross-entropy of a modality classifier behind a gradient reversal.

    At ln 2 for each modality, and an accuracy of one half, it cannot tell them apart.
    Source: Wang et al., "Adversarial Cross-Modal Retrieval", equation 8 and algorithm 1.
    """

    config: ModalityAdversaryConfig

    def __init__(self, config: ModalityAdversaryConfig) -> None:
        super().__init__(config)
        self.reversal = GradientReversal(config.reversal, name="modality_reversal")
        self.classifier = Classifier(
            2, config.hidden_widths, config.activation, dtype="float32", name="modality_classifier"
        )
        self.accuracy = Meter(dtype="float32", name="modality_accuracy")

    def losses(self, batch: Batch, outputs: Outputs) -> dict[str, tf.Tensor]:
        """``modality_adversary``: sum over the modalities that are present."""
        total = tf.constant(0.0)
        for vector, modality in _present(outputs):
            scores = self.classifier(self.reversal(tf.cast(vector, tf.float32)))
            total += global_mean(modality_cross_entropy(scores, modality))
        return {"modality_adversary": self.config.weight * total}

    def before_training(self, instances: int) -> None:
        """Tell the schedule how long the training is."""
        self.reversal.start(instances)

    def after_step(self, batch: Batch, outputs: Outputs) -> None:
        """Count the instances, and measure the classifier on this batch."""
        correct = []
        for vector, modality in _present(outputs):
            found = tf.argmax(self.classifier(vector), axis=1, output_type=tf.int32)
            correct.append(global_mean(tf.cast(found == modality, tf.float32)))
        self.accuracy.record(tf.add_n(correct) / len(correct))
        rows = next(iter(batch.values())).shape[0]
        self.reversal.count(tf.constant(rows * replica_count()))

    def scalars(self) -> dict[str, tf.Tensor]:
        """λ, and the share of vectors whose modality the classifier finds."""
        return {
            "modality_adversary/lambda": tf.convert_to_tensor(self.reversal.strength()),
            "modality_adversary/accuracy": self.accuracy.read(),
        }


def _present(outputs: Outputs) -> list[tuple[tf.Tensor, int]]:
    pairs = zip(vectors(outputs), (IMAGE, TEXT))
    return [(vector, modality) for vector, modality in pairs if vector is not None]
