"""Configuration of dual encoders; nothing here imports Keras."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from pydantic import PositiveInt, field_validator

from vl_models.encoders.config import (
    FeatureEncoderConfig,
    ImageEncoderConfig,
    TextEncoderConfig,
    TextTransformerConfig,
    ViTConfig,
)
from vl_models.models.base_config import ModelConfig
from vl_models.tasks.config import TaskConfig

if TYPE_CHECKING:
    from vl_models.input.config import DataFacts


class DualEncoderConfig(ModelConfig):
    """Configuration of a dual encoder, beside what all systems have.

    Attributes:
        embedding_dim: D, the width of the shared space.
        image: the image encoder; of kind "features" it reads precomputed vectors.
        text: the text encoder; likewise.
        shared_projection: one last layer for both towers, whose encoders must be equally wide.
        tasks: losses beside the system's own, each kind at most once.
        num_labels: classes of the data; the trainer sets it.
        num_text_labels: classes of the texts where they have a label set of their own; likewise.
    """

    embedding_dim: PositiveInt = 128
    image: ImageEncoderConfig = ViTConfig(kind="vit")
    text: TextEncoderConfig = TextTransformerConfig(kind="transformer")
    shared_projection: bool = False
    tasks: tuple[TaskConfig, ...] = ()
    num_labels: PositiveInt | None = None
    num_text_labels: PositiveInt | None = None

    @property
    def inputs(self) -> tuple[str, ...]:
        """Pixels or features, and tokens or features."""
        return (
            "image_features" if self.image.kind == "features" else "image",
            "text_features" if self.text.kind == "features" else "token_ids",
        )

    @property
    def loss_names(self) -> tuple[str, ...]:
        """The system's, then those of the tasks."""
        return (*self.OWN_LOSSES, *(name for task in self.tasks for name in task.loss_names))

    @property
    def learns_from_labels(self) -> bool:
        """Whether batches must hold ``label``, and ``num_labels`` must be known."""
        return self.NEEDS_LABELS or any(task.kind == "label_classifier" for task in self.tasks)

    @field_validator("tasks")
    @classmethod
    def _unique_kinds(cls, tasks: tuple[TaskConfig, ...]) -> tuple[TaskConfig, ...]:
        kinds = [task.kind for task in tasks]
        repeated = sorted({kind for kind in kinds if kinds.count(kind) > 1})
        if repeated:
            raise ValueError(f"each kind of task once; repeated: {', '.join(repeated)}")
        return tasks

    def completed(self, facts: DataFacts) -> Self:
        """Return the configuration with vocabulary, classes and widths of features."""
        values: dict[str, object] = {
            side: config.model_copy(update={"width": facts.features[f"{side}_features"].width})
            for side, config in (("image", self.image), ("text", self.text))
            if isinstance(config, FeatureEncoderConfig)
        }
        if self.learns_from_labels:
            values["num_labels"] = len(facts.classes) or None
            values["num_text_labels"] = len(facts.text_classes) or None
        return super().completed(facts).with_values(**values)
