"""FLAVA's joint encoder: on top of one encoder for each modality."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from vl_models.fusion.sequence_encoder import SequenceEncoder
from vl_models.fusion.tokens import Fused, Tokens
from vl_models.layers import initializers
from vl_models.layers.pooler import Pooler


class MultimodalEncoder(SequenceEncoder):
    """Pre-norm blocks over [class token; image; text], of which both are projected linearly first.

    Source: Singh et al., "FLAVA: A Foundational Language And Vision Alignment Model", section 3.1.
    Arguments as in `SequenceEncoder`, and:

    Args:
        sees_padding: whether padding of texts may be attended, as in the authors' program.
    """

    def __init__(self, *sizes: Any, sees_padding: bool = False, **kwargs: Any) -> None:
        super().__init__(*sizes, **kwargs)
        self.sees_padding = sees_padding
        policy = self.dtype_policy

        def projection(name: str) -> keras.layers.Dense:
            small = initializers.normal(self.initializer_range)
            return keras.layers.Dense(self.width, kernel_initializer=small, dtype=policy, name=name)

        self.image_projection = projection("image_projection")
        self.text_projection = projection("text_projection")
        self.pooler = Pooler(self.initializer_range, dtype=policy, name="pooler")

    def build(self, input_shape: Any = None) -> None:
        """Create all variables; both modalities are as wide as this encoder."""
        super().build()
        self.class_vector = self.add_weight(
            name="class_vector", shape=(self.width,), initializer=initializers.normal(0.02)
        )
        for layer in (self.image_projection, self.text_projection, self.pooler):
            layer.build((None, None, self.width))

    def call(  # type: ignore[override]
        self, text: Tokens, image: Tokens, seeds: Any = None, training: bool = False
    ) -> Fused:
        """Encode pairs.

        Args:
            text: of B texts, what their encoder gives before its last norm.
            image: of B images, likewise.
            seeds: int32 [B, 2] of the pairs; needed to drop in training.
            training: whether something is dropped.

        Returns:
            Tokens of both after the last norm, and the class token through the pooler.
        """
        values = self.image_projection(image.values), self.text_projection(text.values)
        first = ops.cast(self.class_vector, values[0].dtype)
        first = ops.broadcast_to(first, (ops.shape(values[0])[0], 1, self.width))
        x = ops.concatenate([first, *values], axis=1)
        mask = None
        if not self.sees_padding:
            seen = ops.ones_like(text.mask[:, :1])
            mask = ops.concatenate([seen, image.mask, text.mask], axis=1)
        x = self.encode(x, mask, seeds=seeds, training=training)["tokens"]
        texts = 1 + image.values.shape[1]
        return Fused(
            Tokens(x[:, texts:], text.mask), Tokens(x[:, 1:texts], image.mask), self.pooler(x)
        )
