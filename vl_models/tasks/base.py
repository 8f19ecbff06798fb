"""The interface of a task: layers of its own, additions to the outputs, and losses on them."""

from __future__ import annotations

import abc
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING

import tensorflow as tf

from vl_models.layers.owner import LayerOwner
from vl_models.tasks.config import BaseTaskConfig

if TYPE_CHECKING:
    from vl_models.batch import Batch, Outputs
    from vl_models.models.base import VisionLanguageModel


class Task(LayerOwner, abc.ABC):
    """Something to learn beside a system's own losses; its gradient flows into the outputs.

    Pretraining and fine-tuning of a system differ in their tasks alone.

    Attributes:
        config: says what the task reads (``inputs``) and names its losses (``loss_names``).
    """

    def __init__(self, config: BaseTaskConfig) -> None:
        self.config = config

    @property
    def inputs(self) -> tuple[str, ...]:
        """Keys of a batch that the task reads, beside the model's."""
        return self.config.inputs

    @property
    def loss_names(self) -> tuple[str, ...]:
        """Names of its losses."""
        return self.config.loss_names

    def build(self, width: int) -> None:
        """Create the variables for vectors of this width."""
        for layer in self.layers:
            if not layer.built:
                layer.build((None, width))

    def forward(
        self, model: VisionLanguageModel, batch: Batch, outputs: Outputs, training: bool
    ) -> Outputs:
        """Compute what the task needs and the outputs lack; later tasks see it, too.

        Args:
            model: whose outputs they are.
            batch: of this replica.
            outputs: of the model and of the tasks before this one.
            training: whether dropout acts.

        Returns:
            What is added to the outputs; nothing by default.
        """
        return {}

    @abc.abstractmethod
    def losses(self, batch: Batch, outputs: Outputs) -> dict[str, tf.Tensor]:
        """Named float32 scalars of the global batch, equal on every replica, already weighed."""

    def collapsed_losses(self, batch: Batch, outputs: Outputs) -> dict[str, tf.Tensor]:
        """Return the task's part of `VisionLanguageModel.collapsed_losses`, already weighed."""
        return {}

    def before_training(self, instances: int) -> None:
        """See `VisionLanguageModel.before_training`."""

    def after_step(self, batch: Batch, outputs: Outputs) -> None:
        """See `VisionLanguageModel.after_step`."""

    def after_update(self) -> None:
        """See `VisionLanguageModel.after_update`."""

    def scalars(self) -> dict[str, tf.Tensor]:
        """Values worth logging beside the losses."""
        return {}

    def after_warm_start(self, loaded: Collection[str]) -> None:
        """See `VisionLanguageModel.after_warm_start`."""

    def abilities(self, model: VisionLanguageModel) -> Mapping[str, Callable[..., tf.Tensor]]:
        """Return what a model with this task can do beside learning.

        Methods of the protocols in `vl_models.models.capabilities`, by name.
        """
        return {}


def vectors(outputs: Outputs) -> tuple[tf.Tensor | None, tf.Tensor | None]:
    """Image and text vectors as the towers give them: not normalised if the system keeps such.

    Returns:
        ``image_vector`` [B, D] and ``text_vector`` [B·n, D], else the embeddings, else None.
    """
    return tuple(  # type: ignore[return-value]
        outputs.get(f"{side}_vector", outputs.get(f"{side}_embedding"))
        for side in ("image", "text")
    )
