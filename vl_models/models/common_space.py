"""Dual towers into one common space by labels and adversaries: what UCAL, ACMR, DSCMR share."""

from __future__ import annotations

from typing import Literal

import keras
import tensorflow as tf
from pydantic import PositiveFloat, PositiveInt, model_validator

from vl_models.encoders.factory import FeatureEncoderConfig, ImageEncoderConfig, TextEncoderConfig
from vl_models.errors import UserError
from vl_models.layers.projection import l2_normalize
from vl_models.layers.unnormalized_projection import UnnormalizedProjection
from vl_models.models.base import Batch, Outputs
from vl_models.models.dual_encoder import DualEncoder, DualEncoderConfig
from vl_models.tasks.label_classifier import LabelClassifier


class CommonSpaceConfig(DualEncoderConfig):
    """What the configurations of the family share; the towers read features by default.

    Attributes:
      embedding_dim: D, the width of the common space.
      image: the image side; of any kind, so that live towers work as well.
      text: the text side.
      vector_activation: of the last layer of both towers.
      search_by: what an embedding is. "vector": the direction of the common space's vector, as in
        the papers. "classes": that of what the classifier on it says of the classes, which are
        then the axes of the space (semantic matching: Rasiwasia et al., "A New Approach to
        Cross-Modal Multimedia Retrieval", section 4.2). Classes rank by class better, since a
        vector between two classes is near both, and know nothing else of an item.
      class_temperature: of the label classifier's softmax, in search alone; below 1 sure classes
        count for more, which makes up for the modesty that dropout teaches.
    """

    embedding_dim: PositiveInt = 40
    image: ImageEncoderConfig = FeatureEncoderConfig(kind="features", hidden_widths=(512, 100))
    text: TextEncoderConfig = FeatureEncoderConfig(kind="features", hidden_widths=(512, 100))
    vector_activation: Literal["tanh", "linear"] = "tanh"
    search_by: Literal["vector", "classes"] = "vector"
    class_temperature: PositiveFloat = 1.0

    @property
    def classifies(self) -> bool:
        """Whether there is a classifier of the vectors."""
        return any(task.kind == "label_classifier" for task in self.tasks)

    @model_validator(mode="after")
    def _classes_are_learned(self) -> CommonSpaceConfig:
        if self.search_by == "classes" and not self.classifies:
            raise ValueError(
                "search_by 'classes' needs a classifier: add {kind: label_classifier} to tasks"
            )
        return self


class CommonSpace(DualEncoder):
    """Towers whose vectors are compared as they are in training, and by a cosine in search.

    Losses see ``image_vector`` and ``text_vector``. The embeddings of search are these, or what the
    classifier makes of them, divided by their norm.
    """

    config: CommonSpaceConfig

    def __init__(self, config: CommonSpaceConfig) -> None:
        super().__init__(config)
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
        return next((o for o in self.tasks if isinstance(o, LabelClassifier)), None)

    def forward(self, batch: Batch, training: bool) -> Outputs:
        """Encode what the batch holds.

        Returns:
          ``image_vector`` [B, D] and ``text_vector`` [B·n, D] of this replica, which losses see,
          and ``image_embedding`` and ``text_embedding``, as in search; float32.
        """
        vectors = super().forward(batch, training)
        outputs: Outputs = {}
        for side, name in enumerate(("image", "text")):
            if f"{name}_embedding" in vectors:
                vector = vectors[f"{name}_embedding"]
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

    def _build_towers(self) -> int:
        batch = self.zeros()
        self._embed_image(batch, training=False)
        self._embed_text(batch, training=False)
        return self.config.embedding_dim

    def _projection(self, name: str) -> keras.layers.Layer:
        config = self.config
        return UnnormalizedProjection(
            config.embedding_dim, config.vector_activation, dtype=config.precision, name=name
        )


def paired_vectors(outputs: Outputs) -> tuple[tf.Tensor, tf.Tensor] | None:
    """Image vectors repeated for each of their texts, and text vectors, [B·n, D] both.

    None if the batch holds one modality alone.
    """
    if not {"image_vector", "text_vector"} <= outputs.keys():
        return None
    image, text = outputs["image_vector"], outputs["text_vector"]
    return tf.repeat(image, text.shape[0] // image.shape[0], axis=0), text


def require_labels(config: DualEncoderConfig) -> int:
    """The number of classes.

    Raises:
      UserError: the data have none.
    """
    if config.num_labels is None:
        raise UserError(
            f"System '{config.system}' learns from classes, and the data have none (label ids). "
            "Give the data labels, or take a system that needs none, for example 'ucal'."
        )
    return config.num_labels
