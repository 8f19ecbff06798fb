"""What the dual encoders have in common: two towers and one unit sphere."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf
from pydantic import PositiveInt, field_validator

from vl_models.encoders.factory import (
    AnyTextConfig,
    FeatureEncoderConfig,
    ImageEncoderConfig,
    TextEncoderConfig,
    TextTransformerConfig,
    ViTConfig,
    build_image_encoder,
    build_text_encoder,
)
from vl_models.encoders.towers import (
    image_input,
    run_image_encoder,
    run_text_encoder,
    text_input,
)
from vl_models.layers.projection import Projection
from vl_models.models.base import Batch, ModelConfig, Outputs, VisionLanguageModel
from vl_models.tasks.factory import TaskConfig, build_tasks


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
    def learns_from_labels(self) -> bool:
        """Whether batches must hold ``label``, and ``num_labels`` must be known."""
        return any(task.kind == "label_classifier" for task in self.tasks)

    @field_validator("tasks")
    @classmethod
    def _unique_kinds(cls, tasks: tuple[TaskConfig, ...]) -> tuple[TaskConfig, ...]:
        kinds = [task.kind for task in tasks]
        repeated = sorted({kind for kind in kinds if kinds.count(kind) > 1})
        if repeated:
            raise ValueError(f"each kind of task once; repeated: {', '.join(repeated)}")
        return tasks


class DualEncoder(VisionLanguageModel):
    """Image tower, text tower, projections to unit-norm embeddings; the loss is the system's.

    A batch with one modality alone is encoded as far as it goes, and has no loss of pairs.

    Args:
      config: sizes and options; ``vocabulary_size`` must be set for a text encoder of tokens,
        ``width`` for one of features.

    Raises:
      ValueError: if one of them is None.
    """

    config: DualEncoderConfig

    def __init__(self, config: DualEncoderConfig) -> None:
        _check_complete(config)
        self.config = config
        self.image_encoder = build_image_encoder(config.image, "image_encoder", config.precision)
        self.text_encoder = self._make_text_encoder(config.text, config.vocabulary_size)
        if config.shared_projection:
            self.image_projection = self.text_projection = self._projection("shared_projection")
        else:
            self.image_projection = self._projection("image_projection")
            self.text_projection = self._projection("text_projection")
        self.tasks = build_tasks(config.tasks, config.num_labels, config.num_text_labels)
        self._built = False

    @property
    def layers(self) -> Sequence[keras.layers.Layer]:
        """Both towers and the tasks; systems add theirs behind."""
        towers = (
            self.image_encoder,
            self.image_projection,
            self.text_encoder,
            self.text_projection,
        )
        return (*dict.fromkeys(towers), *self.task_layers)

    @property
    def task_layers(self) -> Sequence[keras.layers.Layer]:
        """Layers of the tasks."""
        return tuple(layer for task in self.tasks for layer in task.layers)

    def build(self) -> None:
        """Create every variable; a second call changes nothing."""
        if self._built:
            return
        # A call, because a backbone's output width is known by nothing else.
        width = self._build_towers()
        for task in self.tasks:
            task.build(width)
        for layer in self.layers:
            if not layer.built:
                layer.build(None)
        self._built = True

    def forward(self, batch: Batch, training: bool) -> Outputs:
        """Embed what the batch holds.

        Returns:
          ``image_embedding`` [B, D] and ``text_embedding`` [B·n, D] of this replica,
          unit-norm float32; the key of an absent modality is absent.
        """
        outputs: Outputs = {}
        if image_input(self.image_encoder) in batch:
            outputs["image_embedding"] = self._embed_image(batch, training)
        if text_input(self.text_encoder) in batch:
            outputs["text_embedding"] = self._embed_text(batch, training)
        return outputs

    def losses(self, batch: Batch, outputs: Outputs) -> dict[str, tf.Tensor]:
        """The system's losses, then those of the tasks."""
        losses = dict(self.system_losses(batch, outputs))
        for task in self.tasks:
            losses |= task.losses(batch, outputs)
        return losses

    @abc.abstractmethod
    def system_losses(self, batch: Batch, outputs: Outputs) -> dict[str, tf.Tensor]:
        """The system's own losses, see `VisionLanguageModel.losses`."""

    def before_training(self, instances: int) -> None:
        """Tell the tasks."""
        for task in self.tasks:
            task.before_training(instances)

    def after_step(self, batch: Batch, outputs: Outputs) -> None:
        """Let the tasks count and measure."""
        for task in self.tasks:
            task.after_step(batch, outputs)

    def scalars(self) -> dict[str, tf.Tensor]:
        """What the tasks log; systems add theirs."""
        found: dict[str, tf.Tensor] = {}
        for task in self.tasks:
            found |= task.scalars()
        return found

    def encode_image(self, batch: Batch) -> tf.Tensor:
        """Image embeddings, unit-norm float32 [B, D]."""
        return self._embed_image(batch, training=False)

    def encode_text(self, batch: Batch) -> tf.Tensor:
        """Text embeddings, unit-norm float32 [B·n, D]."""
        return self._embed_text(batch, training=False)

    def get_config(self) -> dict[str, Any]:
        """The configuration as plain values."""
        return self.config.model_dump(mode="json")

    def adapt(self, statistics: Mapping[str, tuple[Any, Any]]) -> None:
        """Let encoders of features standardise their input.

        Args:
          statistics: mean and standard deviation, float [d] each, of "image_features" and
            "text_features" in the train split, as far as the model reads them.
        """
        encoders = {"image_features": self.image_encoder, "text_features": self.text_encoder}
        for modality, (mean, deviation) in statistics.items():
            encoders[modality].adapt(mean, deviation)

    def zeros(self) -> Batch:
        """A batch of one row of zeros."""
        size, length = self.config.image_size, self.config.max_length
        batch: dict[str, tf.Tensor] = {}
        if isinstance(self.config.image, FeatureEncoderConfig):
            batch["image_features"] = tf.zeros([1, self.config.image.width])
        else:
            batch["image"] = tf.zeros([1, size, size, 3], tf.uint8)
        if isinstance(self.config.text, FeatureEncoderConfig):
            batch["text_features"] = tf.zeros([1, self.config.text.width])
        else:
            batch["token_ids"] = tf.zeros([1, length], tf.int32)
            batch["text_mask"] = tf.ones([1, length], tf.bool)
        return batch

    def _build_towers(self) -> int:
        """Create the towers' variables; returns the width of what tasks read."""
        batch = self.zeros()
        width = self.encode_image(batch).shape[-1]
        self.encode_text(batch)
        return width

    def _make_text_encoder(
        self, config: AnyTextConfig, vocabulary_size: int | None
    ) -> keras.layers.Layer:
        return build_text_encoder(config, vocabulary_size, "text_encoder", self.config.precision)

    def _projection(self, name: str) -> keras.layers.Layer:
        return Projection(self.config.embedding_dim, dtype=self.config.precision, name=name)

    def _embed_image(self, batch: Batch, training: bool) -> tf.Tensor:
        encoded = run_image_encoder(self.image_encoder, batch, training)
        return self.image_projection(encoded["pooled"])

    def _embed_text(self, batch: Batch, training: bool) -> tf.Tensor:
        encoded = run_text_encoder(self.text_encoder, batch, training)
        return self.text_projection(encoded["pooled"])


class PairDualEncoder(DualEncoder):
    """A dual encoder whose loss depends on the embeddings of the batch's pairs alone."""

    def system_losses(self, batch: Batch, outputs: Outputs) -> dict[str, tf.Tensor]:
        """The losses of the global batch; nothing if a modality is absent."""
        if not {"image_embedding", "text_embedding"} <= outputs.keys():
            return {}
        return self.pair_losses(batch, outputs["image_embedding"], outputs["text_embedding"])

    @abc.abstractmethod
    def pair_losses(
        self, batch: Batch, image_embedding: tf.Tensor, text_embedding: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """Named float32 scalars of the global batch, equal on every replica.

        Args:
          batch: of this replica.
          image_embedding: unit-norm [B, D] of this replica.
          text_embedding: unit-norm [B·n, D] of this replica.
        """


def _check_complete(config: DualEncoderConfig) -> None:
    """Raise ValueError if the trainer has not set what is the data's."""
    if config.vocabulary_size is None and config.text.kind != "features":
        raise ValueError(
            "`vocabulary_size` must be set to the size of the vocabulary. "
            "Received: vocabulary_size=None"
        )
    for side in (config.image, config.text):
        if isinstance(side, FeatureEncoderConfig) and side.width is None:
            raise ValueError(
                "`width` of an encoder of features must be set to that of the data's features. "
                "Received: width=None"
            )
