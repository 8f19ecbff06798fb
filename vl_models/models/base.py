"""The interface that every system implements; what a batch holds is in `vl_models.batch`."""

from __future__ import annotations

import abc
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from vl_models.batch import Batch, Outputs
from vl_models.layers.owner import LayerOwner
from vl_models.models.base_config import ModelConfig

if TYPE_CHECKING:
    from vl_models.tasks.base import Task


class VisionLanguageModel(LayerOwner, abc.ABC):
    """A vision-language system: Keras layers, their mathematics, and nothing of training.

    What it can do beside learning is in `vl_models.models.capabilities`. Its layers, and with them
    its variables, are those in its attributes. Not a `keras.Model`: `losses` there is a property
    of another meaning, and `fit` is not used (the trainer owns optimisers, stages and
    distribution). Every layer has an explicit name, so `variable.path` is stable and public:
    phases, freezing and warm starts match it.

    Attributes:
        config: of the system.
        tasks: what is learnt beside the system's own losses, in order; each sees the outputs of
            those before it.
    """

    config: ModelConfig
    tasks: tuple[Task, ...] = ()

    def __init__(self, config: ModelConfig) -> None:
        self.config = config

    @property
    def inputs(self) -> tuple[str, ...]:
        """Keys of a batch that the model and its tasks read."""
        return self.config.inputs

    @property
    def loss_names(self) -> tuple[str, ...]:
        """Names of all losses that the model and its tasks may have."""
        return self.config.loss_names

    @abc.abstractmethod
    def build(self) -> None:
        """Create every variable, under the strategy's scope; a second call changes nothing."""

    @abc.abstractmethod
    def encode(self, batch: Batch, training: bool) -> Outputs:
        """Compute embeddings, keys and hidden states once, for all losses, tasks and hooks."""

    @abc.abstractmethod
    def own_losses(self, batch: Batch, outputs: Outputs) -> dict[str, tf.Tensor]:
        """Return the system's losses without those of the tasks, see `losses`."""

    def own_collapsed_losses(self, batch: Batch, outputs: Outputs) -> dict[str, tf.Tensor]:
        """Return the system's part of `collapsed_losses`; nothing by default."""
        return {}

    def take_abilities(self) -> None:
        """Let what the tasks bring become methods of the model, see `Task.abilities`."""
        for task in self.tasks:
            for name, method in task.abilities(self).items():
                setattr(self, name, method)

    def forward(self, batch: Batch, training: bool) -> Outputs:
        """Compute the system's outputs, then what its tasks add to them."""
        outputs = self.encode(batch, training)
        for task in self.tasks:
            outputs = {**outputs, **task.forward(self, batch, outputs, training)}
        return outputs

    def losses(self, batch: Batch, outputs: Outputs) -> dict[str, tf.Tensor]:
        """Named float32 scalars of the *global* batch, equal on every replica.

        Those of `loss_names` that this batch has: images alone have no loss of pairs.
        """
        losses = dict(self.own_losses(batch, outputs))
        for task in self.tasks:
            losses |= task.losses(batch, outputs)
        return losses

    def collapsed_losses(self, batch: Batch, outputs: Outputs) -> dict[str, tf.Tensor]:
        """What `losses` would be if all rows of the batch had the same embedding.

        A training that ends there has learnt to tell nothing apart. Named like `losses`, and
        without those that say nothing about it, such as a classifier's.
        """
        losses = dict(self.own_collapsed_losses(batch, outputs))
        for task in self.tasks:
            losses |= task.collapsed_losses(batch, outputs)
        return losses

    def before_training(self, instances: int) -> None:
        """Hear how many rows of batches the whole training has; at each start, also a resumed."""
        for task in self.tasks:
            task.before_training(instances)

    def after_step(self, batch: Batch, outputs: Outputs) -> None:
        """Update state once per forward pass (enqueue, codebook), in replica context."""
        for task in self.tasks:
            task.after_step(batch, outputs)

    def after_update(self) -> None:
        """Update state once per optimiser update (momentum encoder, temperature clamp)."""
        for task in self.tasks:
            task.after_update()

    def after_warm_start(self, loaded: Collection[str]) -> None:
        """Bring copies of weights up to date; ``loaded`` are the paths that got new values."""
        for task in self.tasks:
            task.after_warm_start(loaded)

    def scalars(self) -> dict[str, tf.Tensor]:
        """Values worth logging beside the losses, for example the temperature."""
        found: dict[str, tf.Tensor] = {}
        for task in self.tasks:
            found |= task.scalars()
        return found

    @property
    def text_prefixes(self) -> tuple[str, ...]:
        """Names of the learned prefixes that a text can be encoded with; usually none.

        Prefix i is chosen by ``source_id`` i in the batch of `encode_text`.
        """
        return ()

    def adapt(self, statistics: Mapping[str, tuple[Any, Any]]) -> None:
        """Let encoders of features standardise their input.

        Args:
            statistics: mean and standard deviation, float [d] each, of "image_features" and
                "text_features" in the train split, as far as the model reads them.
        """

    def get_config(self) -> dict[str, Any]:
        """Everything needed to construct the same model again, as plain values."""
        return self.config.model_dump(mode="json")

    @property
    def variables(self) -> list[keras.Variable]:
        """All variables, state included, in layer order."""
        return [variable for layer in self.layers for variable in layer.variables]

    @property
    def trainable_variables(self) -> list[keras.Variable]:
        """Variables that optimisers may update, in layer order."""
        return [variable for layer in self.layers for variable in layer.trainable_variables]
