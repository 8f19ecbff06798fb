"""Normalisation of pixels, part of the image tower."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from vl_models.layers.configured import ConfiguredLayer


class PixelNormalization(ConfiguredLayer):
    """Map pixels from 0…255 to zero mean and unit variance per channel.

    Args:
        mean: mean of the channels, as shares of 255.
        standard_deviation: their standard deviations, as shares of 255.
    """

    def __init__(
        self, mean: Sequence[float], standard_deviation: Sequence[float], **kwargs: Any
    ) -> None:
        # Pixels between integers are no exact bfloat16: the input must not be cast.
        super().__init__(autocast=False, **kwargs)
        self.mean = tuple(mean)
        self.standard_deviation = tuple(standard_deviation)

    def call(self, images: Any) -> Any:
        """Normalise uint8 or float [B, H, W, 3]; the result has the compute dtype."""
        deviation = np.asarray(self.standard_deviation, np.float32)
        scale = (1.0 / (255.0 * deviation)).astype(np.float32)
        shift = (-np.asarray(self.mean, np.float32) / deviation).astype(np.float32)
        return ops.cast(ops.cast(images, "float32") * scale + shift, self.compute_dtype)
