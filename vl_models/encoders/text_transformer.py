"""The text transformer: CLIP's causal one, or one that sees both directions."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from vl_models.layers import initializers
from vl_models.layers.layer_norm import LayerNorm
from vl_models.layers.transformer_block import TransformerBlock


@keras.saving.register_keras_serializable("vlsearch")
class TextTransformer(keras.layers.Layer):
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
      epsilon: of the layer normalisations.
      prefix_length: P, vectors that precede the tokens of every text; the call takes them.
    """

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
        epsilon: float = 1e-5,
        prefix_length: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if pooling not in ("cls", "mean", "eot"):
            raise ValueError(
                f"`pooling` must be 'cls', 'mean' or 'eot'. Received: pooling={pooling!r}"
            )
        if causal and pooling == "cls":
            raise ValueError(
                "The first token of a causal transformer sees nothing but itself: "
                "pooling='cls' needs causal=False. Received: causal=True, pooling='cls'"
            )
        self.vocabulary_size = vocabulary_size
        self.width = width
        self.depth = depth
        self.heads = heads
        self.mlp_ratio = mlp_ratio
        self.activation = activation
        self.causal = causal
        self.pooling = pooling
        self.dropout = dropout
        self.epsilon = epsilon
        self.prefix_length = prefix_length
        policy = self.dtype_policy
        self.blocks = [
            TransformerBlock(
                heads,
                mlp_ratio=mlp_ratio,
                activation=activation,
                causal=causal,
                epsilon=epsilon,
                dropout=dropout,
                qkv_initializer=initializers.normal(width**-0.5),
                hidden_initializer=initializers.normal((2 * width) ** -0.5),
                residual_initializer=initializers.normal((2 * depth * width) ** -0.5),
                dtype=policy,
                name=f"block_{index}",
            )
            for index in range(depth)
        ]
        self.norm_after = LayerNorm(epsilon, dtype=policy, name="norm_after")

    def build(self, input_shape: Any) -> None:
        """Create all variables for token ids of shape [B, L]."""
        length = self.prefix_length + input_shape[-1]
        self.token_embedding = self.add_weight(
            name="token_embedding",
            shape=(self.vocabulary_size, self.width),
            initializer=initializers.normal(0.02),
        )
        self.positions = self.add_weight(
            name="positions",
            shape=(length, self.width),
            initializer=initializers.normal(0.01),
        )
        layers: list[keras.layers.Layer] = [*self.blocks, self.norm_after]
        for layer in layers:
            layer.build((None, length, self.width))

    def call(
        self, token_ids: Any, text_mask: Any, prefix: Any = None, training: bool = False
    ) -> dict[str, Any]:
        """Encode texts.

        Args:
          token_ids: int32 [B, L].
          text_mask: bool [B, L], True = token, False = padding that nobody attends to.
          prefix: float [B, P, W], vectors before the first token; needed if P > 0.
          training: whether dropout acts.

        Returns:
          ``tokens`` [B, L, W] after the last norm and ``pooled`` [B, W]; prefixes are no
          tokens.
        """
        x, mask = self._embed(token_ids, text_mask, prefix)
        for block in self.blocks:
            x = block(x, key_mask=mask, training=training)
        x = self.norm_after(x)[:, self.prefix_length :]
        if self.pooling == "cls":
            return {"tokens": x, "pooled": x[:, 0]}
        weights = self._pooling_weights(text_mask)
        pooled = ops.sum(ops.cast(x, "float32") * weights[:, :, None], axis=1)
        return {"tokens": x, "pooled": ops.cast(pooled, x.dtype)}

    def pooled_attention(self, token_ids: Any, text_mask: Any, prefix: Any = None) -> Any:
        """What the pooled output attends to in the last block, mean over its heads.

        Args:
          token_ids: int32 [B, L].
          text_mask: bool [B, L].
          prefix: float [B, P, W], as in the call.

        Returns:
          float32 [B, P + L], each row sums to 1.
        """
        x, mask = self._embed(token_ids, text_mask, prefix)
        for block in self.blocks[:-1]:
            x = block(x, key_mask=mask)
        attention = ops.mean(self.blocks[-1].attention_weights(x, key_mask=mask), axis=1)
        of_tokens = attention[:, self.prefix_length :]
        weights = self._pooling_weights(text_mask)
        return ops.sum(of_tokens * weights[:, :, None], axis=1)

    def _embed(self, token_ids: Any, text_mask: Any, prefix: Any) -> tuple[Any, Any]:
        """The sequence [B, P + L, W] before the first block, and its mask [B, P + L]."""
        x = ops.take(self.token_embedding, token_ids, axis=0)
        mask = ops.cast(text_mask, "bool")
        if self.prefix_length:
            x = ops.concatenate([ops.cast(prefix, x.dtype), x], axis=1)
            seen = ops.ones_like(mask[:, :1])
            mask = ops.concatenate([seen] * self.prefix_length + [mask], axis=1)
        return ops.cast(x + self.positions, self.compute_dtype), mask

    def _pooling_weights(self, text_mask: Any) -> Any:
        """Share of each token in the pooled output, float32 [B, L]."""
        mask = ops.cast(text_mask, "float32")
        if self.pooling == "cls":
            return ops.one_hot(ops.zeros_like(text_mask[:, 0], "int32"), mask.shape[1])
        if self.pooling == "eot":
            last = ops.cast(ops.sum(mask, axis=1), "int32") - 1
            return ops.one_hot(last, mask.shape[1], dtype="float32")
        return mask / ops.maximum(ops.sum(mask, axis=1, keepdims=True), 1.0)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {
            **super().get_config(),
            "vocabulary_size": self.vocabulary_size,
            "width": self.width,
            "depth": self.depth,
            "heads": self.heads,
            "mlp_ratio": self.mlp_ratio,
            "activation": self.activation,
            "causal": self.causal,
            "pooling": self.pooling,
            "dropout": self.dropout,
            "epsilon": self.epsilon,
            "prefix_length": self.prefix_length,
        }
