"""ACMR: triplets by class, a label classifier, and a modality adversary.

Wang et al., "Adversarial Cross-Modal Retrieval".
"""

from __future__ import annotations

import tensorflow as tf

from vl_models.batch import Batch, Outputs
from vl_models.distribution import all_gather, global_mean
from vl_models.layers.reversal_schedule import ReversalSchedule
from vl_models.losses.class_triplet import batch_hinge, class_triplet_rows, hardest_negatives
from vl_models.losses.labels import labels_of, shares_label
from vl_models.models.acmr_config import ACMRConfig
from vl_models.models.base_config import require_labels
from vl_models.models.common_space import CommonSpace
from vl_models.tasks.modality_adversary import ModalityAdversary


class ACMR(CommonSpace):
    """The embedding loss less the adversary's, in one minimisation by gradient reversal.

    All triplets of the global batch count: every pair of a positive and a negative of an
    anchor, in both directions.

    Raises:
        UserError: the data have no labels.
    """

    config: ACMRConfig

    def __init__(self, config: ACMRConfig) -> None:
        require_labels(config.system, config.num_labels)
        super().__init__(config)
        if config.reference_demo:
            self._disarm()

    def own_losses(self, batch: Batch, outputs: Outputs) -> dict[str, tf.Tensor]:
        """``triplet`` and ``weight_norms``; nothing if a modality is absent."""
        if not {"image_vector", "text_vector"} <= outputs.keys():
            return {}
        config = self.config
        image, text = outputs["image_vector"], outputs["text_vector"]
        image_labels = labels_of(batch, image.shape[0])
        text_labels = labels_of(batch, text.shape[0])
        if config.reference_demo:
            return {"triplet": self._demo_triplet(batch, image, text)}

        def triplets(
            anchor: tf.Tensor, labels: tf.Tensor, others: tf.Tensor, other_labels: tf.Tensor
        ) -> tf.Tensor:
            same = shares_label(labels, all_gather(other_labels))
            rows = class_triplet_rows(
                anchor, all_gather(others), same, config.margin, config.push_weight
            )
            return global_mean(rows)

        total = triplets(image, image_labels, text, text_labels)
        total += triplets(text, text_labels, image, image_labels)
        losses = {"triplet": config.triplet_weight * total}
        if config.weight_norms:
            losses["weight_norms"] = config.weight_norms * self._weight_norms()
        return losses

    def _disarm(self) -> None:
        """Keep the label classifier as it is, and the adversary's gradient out of the towers."""
        for task in self.tasks:
            if isinstance(task, ModalityAdversary):
                task.reversal.schedule = ReversalSchedule(kind="constant", maximum=0.0)
        if self.label_classifier is not None:
            for classifier in self.label_classifier.layers:
                classifier.trainable = False

    def _demo_triplet(self, batch: Batch, image: tf.Tensor, text: tf.Tensor) -> tf.Tensor:
        """One hinge over the global batch; a row without another class is only pulled."""
        texts = text.shape[0] // image.shape[0]
        image, features, labels = (
            tf.repeat(rows, texts, axis=0)
            for rows in (image, batch["image_features"], labels_of(batch, image.shape[0]))
        )
        rows = (image, text, features, batch["text_features"], labels)
        image, text, image_features, text_features, labels = (all_gather(row) for row in rows)

        def negatives(features: tf.Tensor, vectors: tf.Tensor, anchors: tf.Tensor) -> tf.Tensor:
            index, found = hardest_negatives(features, labels)
            return tf.where(found[:, None], tf.gather(vectors, index), anchors)

        return batch_hinge(
            image,
            text,
            image_negative=negatives(text_features, image, text),
            text_negative=negatives(image_features, text, image),
        )

    def _weight_norms(self) -> tf.Tensor:
        """Sum of the Frobenius norms of the towers' matrices."""
        towers = (
            self.image_encoder,
            self.image_projection,
            self.text_encoder,
            self.text_projection,
        )
        kernels = [
            variable
            for layer in dict.fromkeys(towers)
            for variable in layer.trainable_variables
            if len(variable.shape) > 1
        ]
        return tf.add_n([tf.norm(tf.cast(tf.convert_to_tensor(k), tf.float32)) for k in kernels])
