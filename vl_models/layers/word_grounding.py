"""Words that know which patches show what they name, and where these are."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from vl_models.layers import initializers
from vl_models.layers.configured import ConfiguredLayer
from vl_models.layers.projection import Projection
from vl_models.layers.temperature import Temperature

_INITIAL_TEMPERATURE = 1 / 30


class WordGrounding(ConfiguredLayer):
    """Add to each word what the patches most like it hold, and where in the image they are.

    A word attends to patches by their cosine in a shared space. A contrast of the means of words
    and patches shapes it (`vl_models.tasks.grounding`): projections are linear, so that what means
    have in common their tokens have, too. Of the place a word gets the mean and the spread of the
    attended coordinates, which do not depend on what is shown there.
    Sources: Lee et al., "Stacked Cross Attention for Image-Text Matching", section 3.1 (attention
    of words to regions by cosine); Finn et al., "Deep Spatial Autoencoders for Visuomotor
    Learning", section IV.A (expected coordinates of a softmax over the image).

    Args:
        grid: g, patches on a side of the image.
        dim: width of the shared space.
    """

    def __init__(self, grid: int, dim: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.grid = grid
        self.dim = dim

    def build(self, input_shape: Any) -> None:
        """Create all variables for words and patches [B, any length, W]."""
        width, policy = input_shape[-1], self.dtype_policy
        self.words = Projection(self.dim, dtype=policy, name="words")
        self.patches = Projection(self.dim, dtype=policy, name="patches")
        self.temperature = Temperature(_INITIAL_TEMPERATURE, dtype="float32", name="temperature")
        self.content = keras.layers.Dense(
            width, kernel_initializer=initializers.normal(width**-0.5), dtype=policy, name="content"
        )
        # Places start about as large as words are: from small ones, relations are learnt late.
        self.place = keras.layers.Dense(
            width, kernel_initializer=initializers.normal(1.0), dtype=policy, name="place"
        )
        for layer in (self.words, self.patches, self.temperature, self.content):
            layer.build(input_shape)
        self.place.build((None, None, 4))

    def call(self, words: Any, patches: Any) -> Any:
        """Ground words.

        Args:
            words: [B, L, W].
            patches: [B, g², W], in reading order.

        Returns:
            [B, L, W] in the dtype of the words.
        """
        logits = self._logits(words, patches)
        weights = ops.softmax(logits, axis=-1)
        content = self.content(ops.matmul(ops.cast(weights, patches.dtype), patches))
        return words + content + self.place(ops.cast(self._places(logits, weights), words.dtype))

    def attention(self, words: Any, patches: Any) -> Any:
        """How much each word attends to each patch: float32 [B, L, g²], rows sum to 1."""
        return ops.softmax(self._logits(words, patches), axis=-1)

    def _logits(self, words: Any, patches: Any) -> Any:
        cosines = ops.matmul(self.words(words), ops.transpose(self.patches(patches), (0, 2, 1)))
        return self.temperature(cosines)

    def _places(self, logits: Any, weights: Any) -> Any:
        """Column, row, spread and extent, float32 [B, L, 4], each of about unit variance."""
        moments = ops.matmul(weights, _coordinates(self.grid))
        column, row, square = ops.unstack(moments, axis=-1)
        spread = ops.sqrt(ops.maximum(square - column**2 - row**2, 1e-4))
        # The logarithm of how many patches are as like the word as the most similar one is.
        extent = ops.logsumexp(logits, axis=-1) - ops.max(logits, axis=-1)
        return ops.stack([1.5 * column, 1.5 * row, 3.0 * spread - 1.5, extent - 1.0], axis=-1)


def _coordinates(grid: int) -> np.ndarray:
    """Column x and row y of each patch's centre, from -1 to 1, and x² + y²: float32 [g², 3]."""
    centres = (np.arange(grid, dtype=np.float32) + 0.5) / grid * 2 - 1
    y, x = np.meshgrid(centres, centres, indexing="ij")
    return np.stack([x.ravel(), y.ravel(), (x**2 + y**2).ravel()], axis=1)
