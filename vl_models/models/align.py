"""ALIGN: a dual encoder for noisy pairs, with smoothed labels and a temperature that divides.

Jia et al., "Scaling Up Visual and Vision-Language Representation Learning With Noisy Text
Supervision".
"""

from __future__ import annotations

from typing import Literal

import keras
import tensorflow as tf
from pydantic import Field, PositiveFloat

from vl_models.layers.divisor_temperature import DivisorTemperature
from vl_models.layers.projection import UnitNorm
from vl_models.models.base import Batch
from vl_models.models.contrastive import ContrastiveConfig, ContrastiveDualEncoder


class ALIGNConfig(ContrastiveConfig):
    """Configuration of `ALIGN`.

    Published: an EfficientNet whose pooled width is the embedding's, BERT's first token and
    one linear layer behind it (``text: {…, pooling: cls}``), temperature and smoothing as
    here, a sum of the two directions.

    Attributes:
      system: "align".
      initial_temperature: σ, which divides the cosines.
      maximum_scale: 1 / lower bound of σ.
      label_smoothing: the paper's 0.1.
      project_image: whether the image side has a projection, too; without it, the pooled
        width of the image encoder must be ``embedding_dim``.
      direction_sum: sum of the two directions (the paper's formula) or their mean.
    """

    system: Literal["align"] = "align"
    initial_temperature: PositiveFloat = 1.0
    maximum_scale: PositiveFloat = 1e3
    label_smoothing: float = Field(default=0.1, ge=0.0, lt=1.0)
    project_image: bool = False
    direction_sum: bool = True


class ALIGN(ContrastiveDualEncoder):
    """The loss of section 3.2 (equations 1 and 2) on the global batch.

    Raises:
      ValueError: in `build`, if there is no image projection and the image encoder's width is
        not the embedding's.
    """

    config: ALIGNConfig

    def build(self) -> None:
        """Create every variable; a second call changes nothing."""
        super().build()
        if not self.config.project_image:
            width = self.encode_image(self.zeros()).shape[-1]
            if width != self.config.embedding_dim:
                raise ValueError(
                    "Without an image projection, `embedding_dim` must be the width of the image "
                    f"encoder, {width}. Set it, or set project_image: true. "
                    f"Received: embedding_dim={self.config.embedding_dim}"
                )

    def pair_losses(
        self, batch: Batch, image_embedding: tf.Tensor, text_embedding: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """``contrastive``, the sum (or the mean) of both directions."""
        losses = super().pair_losses(batch, image_embedding, text_embedding)
        factor = 2.0 if self.config.direction_sum else 1.0
        return {name: factor * loss for name, loss in losses.items()}

    def _projection(self, name: str) -> keras.layers.Layer:
        if name == "image_projection" and not self.config.project_image:
            return UnitNorm(dtype=self.config.precision, name=name)
        return super()._projection(name)

    def _make_temperature(self, config: ContrastiveConfig) -> DivisorTemperature:
        return DivisorTemperature(
            config.initial_temperature,
            1.0 / config.maximum_scale,
            dtype="float32",
            name="temperature",
        )
