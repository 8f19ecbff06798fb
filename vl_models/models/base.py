"""The interface that every system implements.

A *batch* is a dict of dense tensors (no strings); a key of an absent modality is absent:

====================  ====================  =================================================
key                   dtype and shape       meaning
====================  ====================  =================================================
image                 uint8 [B, H, W, 3]    RGB; the tower normalises
image_2               uint8 [B, H, W, 3]    second image or second view
image_extent          int32 [B, 2]          height and width within ``image``, if padded
image_…               uint8 [B, h, h, 3]    further sizes of the same crop, see ``image_sizes``
token_ids             int32 [B·n, L]        image-major: texts of row i are i·n … i·n + n - 1
text_mask             bool  [B·n, L]        True = token, False = padding
image_features        float32 [B, d]        precomputed image features
text_features         float32 [B·n, d]      precomputed text features
image_id_hash             int64 [B]             fingerprint of the image id
query_hash             int64 [B·n]           fingerprint of the normalised query
clicked_query_hashes    int64 [B, M]          keys of queries known to click image i, -1 padded
row                   int64 [B]             stable index of the Example, and of its copy
seed                  int32 [B, 2]          from (run, epoch, row): all randomness of a row
label                 float32 [B, C]        multi-hot; label_id int32 [B], -1 = none
text_label            float32 [B, C']       where the texts have a label set of their own
query_weight          float32 [B·n]         debiased click weight of the drawn text
image_log_q           float32 [B]           log share of the draws, for the logQ correction
answer                float32 [B, A]        scores of the data's answers
source_type           int32 [B]             index into features.SOURCE_TYPES
source_id             int32 [B]             index of the data source in the mixer
====================  ====================  =================================================
"""

from __future__ import annotations

import abc
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Self

import keras
import tensorflow as tf
from pydantic import Field, PositiveInt

from vl_models.input.config import DataFacts, ImageFit
from vl_models.precision import Precision
from vl_models.strict_config import StrictConfig

Batch = Mapping[str, tf.Tensor]
Outputs = dict[str, tf.Tensor]


class ModelConfig(StrictConfig):
    """What the configurations of all systems share.

    Attributes:
      system: name of the system in the registry.
      image_size: side of the input in pixels.
      image_fit: whether images are cut to squares ("crop"), or keep their ratio of sides and get
        a margin of zeros ("pad"); batches then hold ``image_extent``.
      max_length: L, tokens of a text, special ones included.
      vocabulary_size: number of token ids; the trainer sets it to that of the vocabulary.
      precision: dtype policy of the towers; embeddings and losses are float32 always. "auto"
        is what the machine is made for, see `resolve_precision`.
    """

    system: str
    image_size: PositiveInt = 64
    image_fit: ImageFit = "crop"
    max_length: int = Field(default=24, ge=3)
    vocabulary_size: PositiveInt | None = None
    precision: Precision = "float32"

    @property
    def inputs(self) -> tuple[str, ...]:
        """Keys of a batch that the system reads; tokens come with their mask."""
        raise NotImplementedError(f"{type(self).__name__} does not say what it reads")

    @property
    def loss_names(self) -> tuple[str, ...]:
        """Names of all losses that the system may have; a batch without their input lacks some."""
        raise NotImplementedError(f"{type(self).__name__} does not name its losses")

    @property
    def reads_features(self) -> bool:
        """Whether both sides read precomputed vectors."""
        return {"image_features", "text_features"} <= set(self.inputs)

    @property
    def image_sizes(self) -> Mapping[str, int]:
        """Sides in pixels of each image of a batch, by key: "image" and further sizes of it."""
        return {"image": self.image_size}

    def completed(self, facts: DataFacts) -> Self:
        """This configuration with what it leaves to the data.

        Raises:
          pydantic.ValidationError: the data's facts do not fit it.
        """
        values = dict(self)
        known = type(self).model_fields
        if facts.vocabulary_size is not None:
            values["vocabulary_size"] = facts.vocabulary_size
        if "sources" in known:
            values["sources"] = facts.sources
        for key, statistics in facts.features.items():
            side = key.removesuffix("_features")
            values[side] = values[side].model_copy(update={"width": statistics.width})
        if self.learns_from_labels:
            for name, classes in (
                ("num_labels", facts.classes),
                ("num_text_labels", facts.text_classes),
            ):
                if name in known:
                    values[name] = len(classes) or None
        return type(self).model_validate(values)

    @property
    def learns_from_labels(self) -> bool:
        """Whether batches must hold ``label``."""
        return False

    @property
    def learns_unpaired(self) -> bool:
        """Whether there is something to learn from batches of one modality alone."""
        return False


class VisionLanguageModel(abc.ABC):
    """A vision-language system: Keras layers, their mathematics, and nothing of training.

    Not a `keras.Model`: `losses` there is a property of another meaning, and `fit` is not
    used (the trainer owns optimisers, stages and distribution). Every layer has an explicit
    name, so `variable.path` is stable and public: phases, freezing and warm starts match it.
    """

    config: ModelConfig

    @property
    def inputs(self) -> tuple[str, ...]:
        """Keys of a batch that the model reads."""
        return self.config.inputs

    @property
    def loss_names(self) -> tuple[str, ...]:
        """Names of all losses that the model may have."""
        return self.config.loss_names

    @property
    @abc.abstractmethod
    def layers(self) -> Sequence[keras.layers.Layer]:
        """Top-level Keras layers, in a fixed order; they hold all variables."""

    @abc.abstractmethod
    def build(self) -> None:
        """Create every variable; called once, under the strategy's scope."""

    @abc.abstractmethod
    def forward(self, batch: Batch, training: bool) -> Outputs:
        """Compute embeddings, keys and hidden states once, for all losses and hooks."""

    @abc.abstractmethod
    def losses(self, batch: Batch, outputs: Outputs) -> dict[str, tf.Tensor]:
        """Named float32 scalars of the *global* batch, equal on every replica."""

    def before_training(self, instances: int) -> None:  # noqa: B027
        """Hear how many rows of batches the whole training has; at each start, also a resumed."""

    def after_step(self, batch: Batch, outputs: Outputs) -> None:  # noqa: B027
        """Update state once per forward pass (enqueue, codebook), in replica context."""

    def after_update(self) -> None:  # noqa: B027
        """Update state once per optimiser update (momentum encoder, temperature clamp)."""

    def after_warm_start(self, loaded: Collection[str]) -> None:  # noqa: B027
        """Bring copies of weights up to date; ``loaded`` are the paths that got new values."""

    def scalars(self) -> dict[str, tf.Tensor]:
        """Values worth logging beside the losses, for example the temperature."""
        return {}

    @property
    def text_prefixes(self) -> tuple[str, ...]:
        """Names of the learned prefixes that a text can be encoded with; usually none.

        Prefix i is chosen by ``source_id`` i in the batch of `encode_text`.
        """
        return ()

    @abc.abstractmethod
    def get_config(self) -> dict[str, Any]:
        """Everything needed to construct the same model again, as plain values."""

    @property
    def variables(self) -> list[keras.Variable]:
        """All variables, state included, in layer order."""
        return [variable for layer in self.layers for variable in layer.variables]

    @property
    def trainable_variables(self) -> list[keras.Variable]:
        """Variables that optimisers may update, in layer order."""
        return [variable for layer in self.layers for variable in layer.trainable_variables]
