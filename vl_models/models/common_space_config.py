"""Configuration of the common-space systems; nothing here imports Keras."""

from __future__ import annotations

from typing import Literal

from pydantic import PositiveFloat, PositiveInt, model_validator

from vl_models.encoders.config import FeatureEncoderConfig, ImageEncoderConfig, TextEncoderConfig
from vl_models.models.dual_encoder_config import DualEncoderConfig


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
