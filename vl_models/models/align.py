"""ALIGN: a dual encoder for noisy pairs, with smoothed labels and a temperature that divides.

Jia et al., "Scaling Up Visual and Vision-Language Representation Learning With Noisy Text
Supervision".
"""

from __future__ import annotations

import tensorflow as tf

from vl_models.batch import Batch, Outputs
from vl_models.layers.divisor_temperature import DivisorTemperature
from vl_models.layers.projection import UnitNorm
from vl_models.models.align_config import ALIGNConfig
from vl_models.models.clip import CLIP


class ALIGN(CLIP):
    """The loss of section 3.2 (equations 1 and 2) on the global batch.

    Raises:
        ValueError: in `build`, if there is no image projection and the image encoder's width is
            not the embedding's.
    """

    config: ALIGNConfig

    def __init__(self, config: ALIGNConfig) -> None:
        unit_norm = UnitNorm(dtype=config.precision, name="image_projection")
        super().__init__(
            config,
            temperature=DivisorTemperature(
                config.initial_temperature,
                1.0 / config.maximum_scale,
                dtype="float32",
                name="temperature",
            ),
            image_projection=None if config.project_image else unit_norm,
        )

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

    def own_losses(self, batch: Batch, outputs: Outputs) -> dict[str, tf.Tensor]:
        """``contrastive``, the sum (or the mean) of both directions."""
        losses = super().own_losses(batch, outputs)
        factor = 2.0 if self.config.direction_sum else 1.0
        return {name: factor * loss for name, loss in losses.items()}
