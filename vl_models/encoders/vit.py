"""The vision transformer, as CLIP defines it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keras import ops

from vl_models.encoders.transformer_encoder import TransformerEncoder
from vl_models.layers.layer_norm import LayerNorm
from vl_models.layers.patch_embedding import PatchEmbedding
from vl_models.layers.pixel_norm import PixelNormalization


class ViTEncoder(TransformerEncoder):
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
        drop_path: probability that a row skips a branch of the last block, see
            `TransformerEncoder`.
        epsilon: of the layer normalisations.
        mean: channel means of the pixels, as shares of 255.
        standard_deviation: channel standard deviations, as shares of 255.
        mask_token: whether patches can be masked: there is a learned vector for it.
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
        drop_path: float = 0.0,
        epsilon: float = 1e-5,
        mean: Sequence[float] = (0.5, 0.5, 0.5),
        standard_deviation: Sequence[float] = (0.5, 0.5, 0.5),
        mask_token: bool = False,
        **kwargs: Any,
    ) -> None:
        sizes = (width, depth, heads, mlp_ratio, activation, pooling, dropout, drop_path, epsilon)
        super().__init__(*sizes, autocast=False, **kwargs)
        self.patch_size = patch_size
        self.mean = tuple(mean)
        self.standard_deviation = tuple(standard_deviation)
        self.mask_token = mask_token
        policy = self.dtype_policy
        self.pixel_norm = PixelNormalization(
            self.mean, self.standard_deviation, dtype=policy, name="pixel_norm"
        )
        self.patch_embedding = PatchEmbedding(
            patch_size, width, pooling == "cls", mask_token, dtype=policy, name="patch_embedding"
        )
        self.norm_before = LayerNorm(epsilon, dtype=policy, name="norm_before")

    def build(self, input_shape: Any) -> None:
        """Create all variables for images of one size."""
        self.patch_embedding.build(input_shape)
        self.norm_before.build((None, None, self.width))
        self.build_blocks(None)

    def embed(self, images: Any, masked: Any = None) -> Any:
        """Make the sequence before the first block.

        Args:
            images: uint8 or float [B, H, W, 3], values 0…255.
            masked: bool [B, patches], True = hidden by the mask vector.

        Returns:
            [B, L, W]: class token, if there is one, and patches in reading order.
        """
        return self.norm_before(self.patch_embedding(self.pixel_norm(images), masked))

    def call(self, images: Any, seeds: Any = None, training: bool = False) -> dict[str, Any]:
        """Encode images.

        Args:
            images: uint8 or float [B, H, W, 3], values 0…255.
            seeds: int32 [B, 2] of the rows; needed to drop in training.
            training: whether something is dropped.

        Returns:
            ``hidden`` and ``tokens`` [B, L, W] (see `TransformerEncoder.encode`), and ``pooled``
            [B, W], normalised after pooling, as in CLIP.
        """
        encoded = self.encode(self.embed(images), seeds=seeds, training=training)
        x = encoded["hidden"]
        pooled = x[:, 0] if self.pooling == "cls" else ops.mean(x, axis=1)
        assert self.norm_after is not None  # the blocks are pre-norm
        return {**encoded, "pooled": self.norm_after(pooled)}
