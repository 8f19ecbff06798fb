"""One transformer over the tokens of text and image, side by side."""

from __future__ import annotations

from typing import Any

from vl_models.encoders.transformer_encoder import TransformerEncoder
from vl_models.fusion.tokens import Fused, Tokens, fused, side_by_side
from vl_models.layers import initializers
from vl_models.layers.pooler import Pooler


class SingleStreamEncoder(TransformerEncoder):
    """Pre-norm blocks over [text; image], a last norm, and a pooler on the text's first token.

    Source: Kim et al., "ViLT: Vision-and-Language Transformer Without Convolution or Region
    Supervision", section 3.1.

    Args:
        width: W, width of a token.
        depth: number of blocks.
        heads: attention heads.
        mlp_ratio: hidden width of the MLPs over W.
        dropout: rate on the residual branches while training.
        drop_path: probability that a row skips a branch of the last block, see
            `TransformerEncoder`.
        epsilon: of the layer normalisations.
        initializer_range: standard deviation of the kernels at the start.
    """

    def __init__(
        self,
        width: int,
        depth: int,
        heads: int,
        mlp_ratio: float = 4.0,
        dropout: float = 0.0,
        drop_path: float = 0.0,
        epsilon: float = 1e-6,
        initializer_range: float = 0.02,
        **kwargs: Any,
    ) -> None:
        kernels = ("qkv_initializer", "hidden_initializer", "residual_initializer")
        super().__init__(
            width,
            depth,
            heads,
            mlp_ratio,
            activation="gelu",
            pooling="cls",
            dropout=dropout,
            drop_path=drop_path,
            epsilon=epsilon,
            block={name: initializers.normal(initializer_range) for name in kernels},
            **kwargs,
        )
        self.initializer_range = initializer_range
        self.pooler = Pooler(initializer_range, dtype=self.dtype_policy, name="pooler")

    def build(self, input_shape: Any = None) -> None:
        """Create the variables of blocks, norm and pooler."""
        self.build_blocks(None)
        self.pooler.build((None, None, self.width))

    def call(self, text: Tokens, image: Tokens, seeds: Any = None, training: bool = False) -> Fused:
        """Encode pairs.

        Args:
            text: tokens of B texts.
            image: tokens of B images.
            seeds: int32 [B, 2] of the pairs; needed to drop in training.
            training: whether something is dropped.

        Returns:
            Tokens of both after the last norm, and the pooled vector.
        """
        both = side_by_side(text, image)
        x = self.encode(both.values, both.mask, seeds=seeds, training=training)["tokens"]
        return fused(x, text, image, self.pooler(x))
