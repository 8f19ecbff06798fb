"""The vision transformer, as CLIP defines it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from vl_models.layers.layer_norm import LayerNorm
from vl_models.layers.patch_embedding import PatchEmbedding
from vl_models.layers.pixel_norm import PixelNormalization
from vl_models.layers.transformer_block import TransformerBlock


@keras.saving.register_keras_serializable("vlsearch")
class ViTEncoder(keras.layers.Layer):
    """Patches, class token and positions, norm, pre-norm blocks, pooling, norm.

    Source: Dosovitskiy et al., "An Image is Worth 16x16 Words"; with the norm before the
    blocks of Radford et al., "Learning Transferable Visual Models From Natural Language
    Supervision", section 2.4.

    Args:
      patch_size: side of a patch in pixels; must divide the image.
      width: W, width of a token.
      depth: number of blocks.
      heads: attention heads; CLIP takes W / 64.
      mlp_ratio: hidden width of the MLPs over W.
      activation: "gelu", "quick_gelu" (CLIP) or "relu".
      pooling: "cls" (the class token) or "mean" (of the patches; there is no class token).
      dropout: rate on the residual branches while training.
      epsilon: of the layer normalisations.
      mean: channel means of the pixels, as shares of 255.
      standard_deviation: channel standard deviations, as shares of 255.
    """

    def __init__(
        self,
        patch_size: int,
        width: int,
        depth: int,
        heads: int,
        mlp_ratio: float = 4.0,
        activation: str = "quick_gelu",
        pooling: str = "cls",
        dropout: float = 0.0,
        epsilon: float = 1e-5,
        mean: Sequence[float] = (0.5, 0.5, 0.5),
        standard_deviation: Sequence[float] = (0.5, 0.5, 0.5),
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        if pooling not in ("cls", "mean"):
            raise ValueError(f"`pooling` must be 'cls' or 'mean'. Received: pooling={pooling!r}")
        self.patch_size = patch_size
        self.width = width
        self.depth = depth
        self.heads = heads
        self.mlp_ratio = mlp_ratio
        self.activation = activation
        self.pooling = pooling
        self.dropout = dropout
        self.epsilon = epsilon
        self.mean = tuple(mean)
        self.standard_deviation = tuple(standard_deviation)
        policy = self.dtype_policy
        self.pixel_norm = PixelNormalization(
            self.mean, self.standard_deviation, dtype=policy, name="pixel_norm"
        )
        self.patch_embedding = PatchEmbedding(
            patch_size, width, pooling == "cls", dtype=policy, name="patch_embedding"
        )
        self.norm_before = LayerNorm(epsilon, dtype=policy, name="norm_before")
        self.blocks = [
            TransformerBlock(
                heads,
                mlp_ratio=mlp_ratio,
                activation=activation,
                epsilon=epsilon,
                dropout=dropout,
                dtype=policy,
                name=f"block_{index}",
            )
            for index in range(depth)
        ]
        self.norm_after = LayerNorm(epsilon, dtype=policy, name="norm_after")

    def build(self, input_shape: Any) -> None:
        """Create all variables for images of one size."""
        sequence = (None, None, self.width)
        self.patch_embedding.build(input_shape)
        layers: list[keras.layers.Layer] = [self.norm_before, *self.blocks, self.norm_after]
        for layer in layers:
            layer.build(sequence)

    def call(self, images: Any, training: bool = False) -> dict[str, Any]:
        """Encode images.

        Args:
          images: uint8 or float [B, H, W, 3], values 0…255.
          training: whether dropout acts.

        Returns:
          ``tokens`` [B, L, W] after the last block and ``pooled`` [B, W], normalised.
        """
        x = self.norm_before(self.patch_embedding(self.pixel_norm(images)))
        for block in self.blocks:
            x = block(x, training=training)
        pooled = x[:, 0] if self.pooling == "cls" else ops.mean(x, axis=1)
        return {"tokens": x, "pooled": self.norm_after(pooled)}

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {
            **super().get_config(),
            "patch_size": self.patch_size,
            "width": self.width,
            "depth": self.depth,
            "heads": self.heads,
            "mlp_ratio": self.mlp_ratio,
            "activation": self.activation,
            "pooling": self.pooling,
            "dropout": self.dropout,
            "epsilon": self.epsilon,
            "mean": list(self.mean),
            "standard_deviation": list(self.standard_deviation),
        }
