"""BERT as a text tower: post-norm blocks that see both directions."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from vl_models.layers import initializers
from vl_models.layers.layer_norm import LayerNorm
from vl_models.layers.transformer_block import TransformerBlock


@keras.saving.register_keras_serializable("vlsearch")
class BertEncoder(keras.layers.Layer):
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
      epsilon: of the layer normalisations.
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
        epsilon: float = 1e-12,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if pooling not in ("cls", "mean"):
            raise ValueError(f"`pooling` must be 'cls' or 'mean'. Received: pooling={pooling!r}")
        self.vocabulary_size = vocabulary_size
        self.width = width
        self.depth = depth
        self.heads = heads
        self.mlp_ratio = mlp_ratio
        self.activation = activation
        self.pooling = pooling
        self.dropout = dropout
        self.epsilon = epsilon
        policy = self.dtype_policy
        self.embedding_norm = LayerNorm(epsilon, dtype=policy, name="embedding_norm")
        self.embedding_dropout = keras.layers.Dropout(dropout, dtype=policy, name="dropout")
        self.blocks = [
            TransformerBlock(
                heads,
                mlp_ratio=mlp_ratio,
                activation=activation,
                pre_norm=False,
                epsilon=epsilon,
                dropout=dropout,
                qkv_initializer=initializers.normal(0.02),
                hidden_initializer=initializers.normal(0.02),
                residual_initializer=initializers.normal(0.02),
                dtype=policy,
                name=f"block_{index}",
            )
            for index in range(depth)
        ]

    def build(self, input_shape: Any) -> None:
        """Create all variables for token ids of shape [B, L]."""
        length = input_shape[-1]
        self.token_embedding = self.add_weight(
            name="token_embedding",
            shape=(self.vocabulary_size, self.width),
            initializer=initializers.normal(0.02),
        )
        self.positions = self.add_weight(
            name="positions", shape=(length, self.width), initializer=initializers.normal(0.02)
        )
        layers: list[keras.layers.Layer] = [self.embedding_norm, *self.blocks]
        for layer in layers:
            layer.build((None, length, self.width))

    def call(self, token_ids: Any, text_mask: Any, training: bool = False) -> dict[str, Any]:
        """Encode texts.

        Args:
          token_ids: int32 [B, L].
          text_mask: bool [B, L], True = token, False = padding that nobody attends to.
          training: whether dropout acts.

        Returns:
          ``tokens`` [B, L, W] and ``pooled`` [B, W].
        """
        x = ops.take(self.token_embedding, token_ids, axis=0) + self.positions
        x = self.embedding_dropout(self.embedding_norm(x), training=training)
        for block in self.blocks:
            x = block(x, key_mask=text_mask, training=training)
        if self.pooling == "cls":
            return {"tokens": x, "pooled": x[:, 0]}
        weights = ops.cast(text_mask, "float32")[:, :, None]
        total = ops.sum(ops.cast(x, "float32") * weights, axis=1)
        pooled = total / ops.maximum(ops.sum(weights, axis=1), 1.0)
        return {"tokens": x, "pooled": ops.cast(pooled, x.dtype)}

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
            "pooling": self.pooling,
            "dropout": self.dropout,
            "epsilon": self.epsilon,
        }
