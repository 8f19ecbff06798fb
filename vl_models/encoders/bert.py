"""BERT as a text tower: post-norm blocks that see both directions."""

from __future__ import annotations

from typing import Any

from keras import ops

from vl_models.encoders.transformer_encoder import TransformerEncoder
from vl_models.layers import initializers
from vl_models.layers.layer_norm import LayerNorm
from vl_models.layers.masked_mean import masked_mean
from vl_models.layers.row_dropout import drop_units

# Stream of the rows' randomness; the blocks have theirs from 0 on.
_EMBEDDING = 1000


class BertEncoder(TransformerEncoder):
    """Token embeddings and learned positions, norm, post-norm blocks, pooling.

    A text is one segment, so there are no segment embeddings: that of segment 0 would be the
    same vector at every position, and is part of the positions. There is no pooler either; a
    projection follows. Initialisation is N(0, 0.02²).
    Source: Devlin et al., "BERT: Pre-training of Deep Bidirectional Transformers for Language
    Understanding", section 3.

    Args:
        vocabulary_size: number of token ids.
        width: W, width of a token.
        depth: number of blocks.
        heads: attention heads; BERT takes W / 64.
        mlp_ratio: hidden width of the MLPs over W.
        activation: "gelu" (BERT), "quick_gelu" or "relu".
        pooling: "cls" (first token) or "mean" (of the tokens).
        dropout: rate on embeddings and residual branches while training.
        drop_path: probability that a row skips a branch of the last block, see
            `TransformerEncoder`.
        epsilon: of the layer normalisations.
        absolute_positions: whether there are learned positions; else attention must know places.
    """

    def __init__(
        self,
        vocabulary_size: int,
        width: int,
        depth: int,
        heads: int,
        mlp_ratio: float = 4.0,
        activation: str = "gelu",
        pooling: str = "cls",
        dropout: float = 0.0,
        drop_path: float = 0.0,
        epsilon: float = 1e-12,
        absolute_positions: bool = True,
        **kwargs: Any,
    ) -> None:
        sizes = (width, depth, heads, mlp_ratio, activation, pooling, dropout, drop_path, epsilon)
        kernels = ("qkv_initializer", "hidden_initializer", "residual_initializer")
        block = {"pre_norm": False, **{name: initializers.normal(0.02) for name in kernels}}
        super().__init__(*sizes, block=block, **kwargs)
        self.vocabulary_size = vocabulary_size
        self.absolute_positions = absolute_positions
        self.embedding_norm = LayerNorm(epsilon, dtype=self.dtype_policy, name="embedding_norm")

    def build(self, input_shape: Any) -> None:
        """Create all variables for token ids of shape [B, L]."""
        length = input_shape[-1]
        self.token_embedding = self.add_weight(
            name="token_embedding",
            shape=(self.vocabulary_size, self.width),
            initializer=initializers.normal(0.02),
            autocast=False,  # rows are gathered before they are cast, not the whole table
        )
        if self.absolute_positions:
            self.positions = self.add_weight(
                name="positions", shape=(length, self.width), initializer=initializers.normal(0.02)
            )
        self.embedding_norm.build((None, length, self.width))
        self.build_blocks(length)

    def embed(self, token_ids: Any, seeds: Any = None, training: bool = False) -> Any:
        """Make the sequence [B, L, W] before the first block of token ids int32 [B, L]."""
        rows = ops.take(self.token_embedding, token_ids, axis=0)
        x = ops.cast(rows, self.compute_dtype)
        if self.absolute_positions:
            x = x + self.positions
        x = self.embedding_norm(x)
        return drop_units(x, self.dropout, seeds, _EMBEDDING) if training else x

    def call(
        self, token_ids: Any, text_mask: Any, seeds: Any = None, training: bool = False
    ) -> dict[str, Any]:
        """Encode texts.

        Args:
            token_ids: int32 [B, L].
            text_mask: bool [B, L], True = token, False = padding that nobody attends to.
            seeds: int32 [B, 2] of the texts; needed to drop in training.
            training: whether something is dropped.

        Returns:
            ``hidden`` and ``tokens`` [B, L, W], which are the same here, and ``pooled`` [B, W].
        """
        x = self.embed(token_ids, seeds, training)
        encoded = self.encode(x, text_mask, seeds=seeds, training=training)
        tokens = encoded["tokens"]
        if self.pooling == "cls":
            return {**encoded, "pooled": tokens[:, 0]}
        return {**encoded, "pooled": masked_mean(tokens, text_mask)}
