"""The text transformer: CLIP's causal one, or one that sees both directions."""

from __future__ import annotations

from typing import Any

from keras import ops

from vl_models.encoders.transformer_encoder import TransformerEncoder
from vl_models.layers import initializers


class TextTransformer(TransformerEncoder):
    """Token embeddings and learned positions, pre-norm blocks, norm, pooling.

    Initialisation is CLIP's: embeddings N(0, 0.02²), positions N(0, 0.01²), attention
    W^-½, hidden (2W)^-½, residual outputs W^-½ (2·depth)^-½.
    Source: Radford et al., "Learning Transferable Visual Models From Natural Language
    Supervision", section 2.4.

    Args:
        vocabulary_size: number of token ids.
        width: W, width of a token.
        depth: number of blocks.
        heads: attention heads.
        mlp_ratio: hidden width of the MLPs over W.
        activation: "gelu", "quick_gelu" (CLIP) or "relu".
        causal: position i attends to positions ≤ i only (CLIP).
        pooling: "cls" (first token), "mean" (of the tokens) or "eot" (last token: the end
            token; CLIP finds it as the highest id, here the mask finds it).
        dropout: rate on the residual branches while training.
        drop_path: probability that a row skips a branch of the last block, see
            `TransformerEncoder`.
        epsilon: of the layer normalisations.
        prefix_length: P, vectors that precede the tokens of every text; the call takes them.
    """

    POOLINGS = ("cls", "mean", "eot")

    def __init__(
        self,
        vocabulary_size: int,
        width: int,
        depth: int,
        heads: int,
        mlp_ratio: float = 4.0,
        activation: str = "quick_gelu",
        causal: bool = False,
        pooling: str = "mean",
        dropout: float = 0.0,
        drop_path: float = 0.0,
        epsilon: float = 1e-5,
        prefix_length: int = 0,
        **kwargs: Any,
    ) -> None:
        sizes = (width, depth, heads, mlp_ratio, activation, pooling, dropout, drop_path, epsilon)
        block = {
            "causal": causal,
            "qkv_initializer": initializers.normal(width**-0.5),
            "hidden_initializer": initializers.normal((2 * width) ** -0.5),
            "residual_initializer": initializers.normal((2 * depth * width) ** -0.5),
        }
        super().__init__(*sizes, block=block, **kwargs)
        if causal and pooling == "cls":
            raise ValueError(
                "The first token of a causal transformer sees nothing but itself: "
                "pooling='cls' needs causal=False. Received: causal=True, pooling='cls'"
            )
        self.vocabulary_size = vocabulary_size
        self.causal = causal
        self.prefix_length = prefix_length

    def build(self, input_shape: Any) -> None:
        """Create all variables for token ids of shape [B, L]."""
        length = self.prefix_length + input_shape[-1]
        self.token_embedding = self.add_weight(
            name="token_embedding",
            shape=(self.vocabulary_size, self.width),
            initializer=initializers.normal(0.02),
            autocast=False,  # rows are gathered before they are cast, not the whole table
        )
        self.positions = self.add_weight(
            name="positions",
            shape=(length, self.width),
            initializer=initializers.normal(0.01),
        )
        self.build_blocks(length)

    def embed(self, token_ids: Any, text_mask: Any, prefix: Any = None) -> tuple[Any, Any]:
        """Make the sequence before the first block.

        Args:
            token_ids: int32 [B, L].
            text_mask: bool [B, L].
            prefix: float [B, P, W], vectors before the first token; needed if P > 0.

        Returns:
            [B, P + L, W] and its mask, bool [B, P + L].
        """
        rows = ops.take(self.token_embedding, token_ids, axis=0)
        x = ops.cast(rows, self.compute_dtype)
        mask = ops.cast(text_mask, "bool")
        if self.prefix_length:
            x = ops.concatenate([ops.cast(prefix, x.dtype), x], axis=1)
            seen = ops.ones_like(mask[:, :1])
            mask = ops.concatenate([seen] * self.prefix_length + [mask], axis=1)
        return ops.cast(x + self.positions, self.compute_dtype), mask

    def call(
        self,
        token_ids: Any,
        text_mask: Any,
        prefix: Any = None,
        seeds: Any = None,
        training: bool = False,
    ) -> dict[str, Any]:
        """Encode texts.

        Args:
            token_ids: int32 [B, L].
            text_mask: bool [B, L], True = token, False = padding that nobody attends to.
            prefix: float [B, P, W], vectors before the first token; needed if P > 0.
            seeds: int32 [B, 2] of the texts; needed to drop in training.
            training: whether something is dropped.

        Returns:
            ``hidden`` and ``tokens`` [B, L, W] (see `TransformerEncoder.encode`) and ``pooled``
            [B, W]; prefixes are no tokens.
        """
        x, mask = self.embed(token_ids, text_mask, prefix)
        encoded = self.encode(x, mask, seeds=seeds, training=training)
        encoded = {name: value[:, self.prefix_length :] for name, value in encoded.items()}
        tokens = encoded["tokens"]
        if self.pooling == "cls":
            return {**encoded, "pooled": tokens[:, 0]}
        weights = self._pooling_weights(text_mask)
        pooled = ops.sum(ops.cast(tokens, "float32") * weights[:, :, None], axis=1)
        return {**encoded, "pooled": ops.cast(pooled, tokens.dtype)}

    def pooled_attention(self, token_ids: Any, text_mask: Any, prefix: Any = None) -> Any:
        """Return what the pooled output attends to in the last block, mean over its heads.

        Args:
            token_ids: int32 [B, L].
            text_mask: bool [B, L].
            prefix: float [B, P, W], as in the call.

        Returns:
            float32 [B, P + L], each row sums to 1.
        """
        x, mask = self.embed(token_ids, text_mask, prefix)
        for block in self.blocks[:-1]:
            x = block(x, key_mask=mask)
        attention = ops.mean(self.blocks[-1].attention_weights(x, key_mask=mask), axis=1)
        of_tokens = attention[:, self.prefix_length :]
        weights = self._pooling_weights(text_mask)
        return ops.sum(of_tokens * weights[:, :, None], axis=1)

    def _pooling_weights(self, text_mask: Any) -> Any:
        """Share of each token in the pooled output, float32 [B, L]."""
        length = text_mask.shape[1]
        if self.pooling == "cls":
            return ops.one_hot(ops.zeros_like(text_mask[:, 0], "int32"), length)
        if self.pooling == "eot":
            last = ops.sum(ops.cast(text_mask, "int32"), axis=1) - 1
            return ops.one_hot(last, length, dtype="float32")
        mask = ops.cast(text_mask, "float32")
        return mask / ops.maximum(ops.sum(mask, axis=1, keepdims=True), 1.0)
