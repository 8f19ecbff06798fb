"""What the transformer encoders share: sizes, a stack of blocks, and what comes out of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vl_models.layers.configured import ConfiguredLayer
from vl_models.layers.layer_norm import LayerNorm
from vl_models.layers.transformer_block import TransformerBlock
from vl_models.row_random import stream_seed


class TransformerEncoder(ConfiguredLayer):
    """A stack of transformer blocks, with a last norm if they are pre-norm.

    A subclass makes the sequence (`embed`, with positions, class token or mask token) apart from
    what the blocks make of it (`encode`): fusion systems embed two modalities and encode them
    together.

    Args:
        width: W, width of a token.
        depth: number of blocks.
        heads: attention heads.
        mlp_ratio: hidden width of the MLPs over W.
        activation: "gelu", "quick_gelu" or "relu".
        pooling: one of the subclass' `POOLINGS`.
        dropout: rate on the residual branches while training.
        drop_path: probability that a row skips a branch of the last block; lower before it, from 0.
        epsilon: of the layer normalisations.
        block: further arguments of every `TransformerBlock`.

    Raises:
        ValueError: an unknown pooling.
    """

    POOLINGS: tuple[str, ...] = ("cls", "mean")

    def __init__(
        self,
        width: int,
        depth: int,
        heads: int,
        mlp_ratio: float,
        activation: str,
        pooling: str,
        dropout: float,
        drop_path: float,
        epsilon: float,
        block: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if pooling not in self.POOLINGS:
            *others, last = (repr(name) for name in self.POOLINGS)
            raise ValueError(
                f"`pooling` must be {', '.join(others)} or {last}. Received: pooling={pooling!r}"
            )
        self.width = width
        self.depth = depth
        self.heads = heads
        self.mlp_ratio = mlp_ratio
        self.activation = activation
        self.pooling = pooling
        self.dropout = dropout
        self.drop_path = drop_path
        self.epsilon = epsilon
        self.blocks = [
            TransformerBlock(
                heads,
                mlp_ratio=mlp_ratio,
                activation=activation,
                epsilon=epsilon,
                dropout=dropout,
                drop_path=drop_path * index / max(1, depth - 1),
                dtype=self.dtype_policy,
                name=f"block_{index}",
                **(block or {}),
            )
            for index in range(depth)
        ]
        self.norm_after: LayerNorm | None = None
        if (block or {}).get("pre_norm", True):
            self.norm_after = LayerNorm(epsilon, dtype=self.dtype_policy, name="norm_after")

    def build_blocks(self, length: int | None) -> None:
        """Create the variables of blocks and last norm for sequences of a length."""
        for layer in (*self.blocks, self.norm_after):
            if layer is not None:
                layer.build((None, length, self.width))

    def encode(
        self,
        x: Any,
        mask: Any = None,
        bias: Any = None,
        seeds: Any = None,
        training: bool = False,
    ) -> dict[str, Any]:
        """Send a sequence through the blocks.

        Args:
            x: [B, L, W], what `embed` makes, of one modality or of several.
            mask: bool [B, L], True = token, False = padding that nobody attends to.
            bias: float, broadcastable to [B, heads, L, L], added to all attention logits.
            seeds: int32 [B, 2] of the rows; needed to drop in training.
            training: whether something is dropped.

        Returns:
            ``hidden`` [B, L, W] after the last block, and ``tokens`` [B, L, W], the same after the
            last norm; post-norm blocks end in their own.
        """
        for index, block in enumerate(self.blocks):
            own = None if seeds is None else stream_seed(seeds, index)
            x = block(x, key_mask=mask, bias=bias, seeds=own, training=training)
        return {"hidden": x, "tokens": x if self.norm_after is None else self.norm_after(x)}
