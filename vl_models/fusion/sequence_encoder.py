"""Blocks over a sequence that something else has embedded."""

from __future__ import annotations

from typing import Any

from vl_models.encoders.transformer_encoder import TransformerEncoder
from vl_models.fusion.tokens import Tokens
from vl_models.layers import initializers


class SequenceEncoder(TransformerEncoder):
    """A stack of blocks with kernels of one size at the start, and a last norm if pre-norm.

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
        pre_norm: pre-norm blocks (ViT), else post-norm ones (BERT).
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
        pre_norm: bool = True,
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
            block={
                "pre_norm": pre_norm,
                **{name: initializers.normal(initializer_range) for name in kernels},
            },
            **kwargs,
        )
        self.initializer_range = initializer_range
        self.pre_norm = pre_norm

    def build(self, input_shape: Any = None) -> None:
        """Create the variables of blocks and norm."""
        self.build_blocks(None)

    def call(self, tokens: Tokens, seeds: Any = None, training: bool = False) -> dict[str, Any]:
        """Encode sequences.

        Args:
            tokens: [B, L, W] and their mask.
            seeds: int32 [B, 2] of the rows; needed to drop in training.
            training: whether something is dropped.

        Returns:
            ``hidden`` and ``tokens`` [B, L, W], before and after the last norm.
        """
        return self.encode(tokens.values, tokens.mask, seeds=seeds, training=training)
