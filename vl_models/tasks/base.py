"""The interface of an task: layers of its own, and losses on a system's outputs."""

from __future__ import annotations

import abc
from collections.abc import Sequence

import keras
import tensorflow as tf

from vl_models.models.base import Batch, Outputs


class Task(abc.ABC):
    """A loss beside a system's own; it gets the same outputs, and its gradient flows into them."""

    @property
    def layers(self) -> Sequence[keras.layers.Layer]:
        """Layers of its own, built by `build`."""
        return ()

    def build(self, width: int) -> None:
        """Create the variables for vectors of this width."""
        for layer in self.layers:
            if not layer.built:
                layer.build((None, width))

    @abc.abstractmethod
    def losses(self, batch: Batch, outputs: Outputs) -> dict[str, tf.Tensor]:
        """Named float32 scalars of the global batch, equal on every replica, already weighed."""

    def before_training(self, instances: int) -> None:  # noqa: B027
        """See `VisionLanguageModel.before_training`."""

    def after_step(self, batch: Batch, outputs: Outputs) -> None:  # noqa: B027
        """See `VisionLanguageModel.after_step`."""

    def scalars(self) -> dict[str, tf.Tensor]:
        """Values worth logging beside the losses."""
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
