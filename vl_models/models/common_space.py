"""Dual towers into one common space by labels and adversaries: what UCAL, ACMR, DSCMR share."""

from __future__ import annotations

import functools

import tensorflow as tf

from vl_models.batch import Batch, Outputs
from vl_models.errors import UserError
from vl_models.layers.projection import l2_normalize
from vl_models.layers.unnormalized_projection import UnnormalizedProjection
from vl_models.models.common_space_config import CommonSpaceConfig
from vl_models.models.dual_encoder import DualEncoder
from vl_models.tasks.label_classifier import LabelClassifier


class CommonSpace(DualEncoder):
    """Towers whose vectors are compared as they are in training, and by a cosine in search.

    Losses see ``image_vector`` and ``text_vector``. The embeddings of search are these, or what the
    classifier makes of them, divided by their norm.
    """

    config: CommonSpaceConfig

    def __init__(self, config: CommonSpaceConfig) -> None:
        projection = functools.partial(
            UnnormalizedProjection,
            config.embedding_dim,
            config.vector_activation,
            dtype=config.precision,
        )
        super().__init__(config, projection=projection)
        classifier = self.label_classifier
        if config.search_by == "classes" and classifier is not None and classifier.labels_differ:
            raise UserError(
                "model.search_by: classes compares classes of images with those of texts, and the "
                "texts have a label set of their own. Set search_by: vector, or share the "
                "label_classifier."
            )

    @property
    def label_classifier(self) -> LabelClassifier | None:
        """The task of that kind, if there is one."""
        return next((task for task in self.tasks if isinstance(task, LabelClassifier)), None)

    def encode(self, batch: Batch, training: bool) -> Outputs:
        """Encode what the batch holds.

        Returns:
            ``image_vector`` [B, D] and ``text_vector`` [B·n, D] of this replica, which losses see,
            and ``image_embedding`` and ``text_embedding``, as in search; float32.
        """
        outputs = super().encode(batch, training)
        for side, name in enumerate(("image", "text")):
            if f"{name}_embedding" in outputs:
                vector = outputs[f"{name}_embedding"]
                outputs[f"{name}_vector"] = vector
                outputs[f"{name}_embedding"] = self._searched(side, vector)
        return outputs

    def encode_image(self, batch: Batch) -> tf.Tensor:
        """Image embeddings, unit-norm float32: [B, D], or [B, C] of classes."""
        return self._searched(0, super().encode_image(batch))

    def encode_text(self, batch: Batch) -> tf.Tensor:
        """Text embeddings, unit-norm float32: [B·n, D], or [B·n, C] of classes."""
        return self._searched(1, super().encode_text(batch))

    def class_values(self, side: int, vector: tf.Tensor) -> tf.Tensor:
        """How much vectors [B, D] are of each class, [B, C]: the label classifier's probabilities.

        Args:
            side: 0 of images, 1 of texts, which may have a classifier of their own.
            vector: [B, D].
        """
        assert self.label_classifier is not None  # or search_by "classes" is refused
        scores = self.label_classifier.classifiers[side](vector)
        return tf.nn.softmax(scores / self.config.class_temperature)

    def _searched(self, side: int, vector: tf.Tensor) -> tf.Tensor:
        if self.config.search_by == "classes":
            vector = self.class_values(side, vector)
        return l2_normalize(vector)


def paired_vectors(outputs: Outputs) -> tuple[tf.Tensor, tf.Tensor] | None:
    """Image vectors repeated for each of their texts, and text vectors, [B·n, D] both.

    None if the batch holds one modality alone.
    """
    if not {"image_vector", "text_vector"} <= outputs.keys():
        return None
    image, text = outputs["image_vector"], outputs["text_vector"]
    return tf.repeat(image, text.shape[0] // image.shape[0], axis=0), text
