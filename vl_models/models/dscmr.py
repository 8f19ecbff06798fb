"""DSCMR: a shared last layer, class scores, and likelihoods of shared classes.

Zhen et al., "Deep Supervised Cross-Modal Retrieval".
"""

from __future__ import annotations

import tensorflow as tf

from vl_models.batch import Batch, Outputs
from vl_models.distribution import all_gather, global_mean
from vl_models.layers.classifier import Classifier
from vl_models.losses.distances import distances
from vl_models.losses.labels import labels_of, shares_label
from vl_models.losses.pair_likelihood import half_cosine, pair_likelihood
from vl_models.models.base_config import require_labels
from vl_models.models.common_space import CommonSpace, paired_vectors
from vl_models.models.dscmr_config import DSCMRConfig

_LEAST = 1e-6


class DSCMR(CommonSpace):
    """J1 + λ J2 + η J3, with the code's means of row norms for J1 and J3.

    The paper divides the norm of the whole matrix by n there, which is another scale.

    Raises:
        UserError: the data have no labels.
    """

    config: DSCMRConfig

    def __init__(self, config: DSCMRConfig) -> None:
        classes = require_labels(config.system, config.num_labels)
        super().__init__(config)
        self.class_scores = Classifier(classes, dtype="float32", name="class_scores")

    def build(self) -> None:
        """Create every variable; a second call changes nothing."""
        if not self.class_scores.built:
            self.class_scores.build((None, self.config.embedding_dim))
        super().build()

    def class_values(self, side: int, vector: tf.Tensor) -> tf.Tensor:
        """How much vectors [B, D] are of each class, [B, C].

        The probabilities of a label classifier, if there is one beside; else the class scores,
        which are fitted to 1 for the class and to 0 for the others: what is below 0 is as little of
        the class as 0, and none of any class is a little of all.
        """
        if self.label_classifier is not None:
            return super().class_values(side, vector)
        return tf.nn.relu(self.class_scores(vector)) + _LEAST

    def own_losses(self, batch: Batch, outputs: Outputs) -> dict[str, tf.Tensor]:
        """``label_distance``, ``likelihood`` and ``pair_distance``, weighed; nothing alone."""
        pairs = paired_vectors(outputs)
        if pairs is None:
            return {}
        config = self.config
        image, text = outputs["image_vector"], outputs["text_vector"]
        sides = [(vector, labels_of(batch, vector.shape[0])) for vector in (image, text)]
        label_distance = tf.add_n(
            [global_mean(distances(self.class_scores(vector), labels)) for vector, labels in sides]
        )
        image_side, text_side = sides
        terms = [
            _likelihood(*pair)
            for pair in (
                (image_side, image_side),
                (image_side, text_side),
                (text_side, text_side),
            )
        ]
        return {
            "label_distance": label_distance,
            "likelihood": config.likelihood_weight * tf.add_n(terms),
            "pair_distance": config.pair_weight * global_mean(distances(*pairs)),
        }


def _likelihood(a: tuple[tf.Tensor, tf.Tensor], b: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
    """Mean over all pairs of the global batch; a and b are (vectors, labels) of this replica."""
    (vectors, labels), (others, other_labels) = a, b
    others, other_labels = all_gather(others), all_gather(other_labels)
    theta = half_cosine(vectors, others)
    return global_mean(pair_likelihood(theta, shares_label(labels, other_labels)))
