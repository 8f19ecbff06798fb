"""A sequence as a few vectors: learned queries that attend to it."""

from __future__ import annotations

from typing import Any

from keras import ops

from vl_models.layers import initializers
from vl_models.layers.attention import CrossAttention
from vl_models.layers.configured import ConfiguredLayer
from vl_models.layers.layer_norm import LayerNorm


class AttentionalPooler(ConfiguredLayer):
    """Multi-head attention of learned queries over normalised tokens.

    Source: Yu et al., "CoCa: Contrastive Captioners are Image-Text Foundation Models", section 3.2
    (attentional poolers); without ``residual`` as in open_clip.

    Args:
        queries: T, vectors that a sequence is pooled to.
        width: of a query and of the result.
        heads: attention heads; must divide the width.
        epsilon: of the layer normalisations.
        residual: whether the queries are added to what they attend to and the sum is normalised;
            else the queries are normalised before they attend.
    """

    def __init__(
        self,
        queries: int,
        width: int,
        heads: int,
        epsilon: float = 1e-6,
        residual: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.queries = queries
        self.width = width
        self.heads = heads
        self.epsilon = epsilon
        self.residual = residual

    def build(self, input_shape: Any) -> None:
        """Create queries, attention and norms for tokens [B, L, any width]."""
        # Without the queries in its sum, small kernels would make the result small, too.
        policy, small = self.dtype_policy, initializers.normal(0.02)
        kernels = small if self.residual else initializers.uniform_fan_in()
        self.query_vectors = self.add_weight(
            name="query_vectors", shape=(self.queries, self.width), initializer=small
        )
        self.attention = CrossAttention(
            self.heads,
            qkv_initializer=initializers.fresh(kernels),
            output_initializer=initializers.fresh(kernels),
            dtype=policy,
            name="attention",
        )
        self.norm_before = LayerNorm(self.epsilon, dtype=policy, name="norm_before")
        own_norm = "norm_after" if self.residual else "query_norm"
        self.own_norm = LayerNorm(self.epsilon, dtype=policy, name=own_norm)
        self.attention.build((None, self.queries, self.width), input_shape)
        self.norm_before.build(input_shape)
        self.own_norm.build((None, None, self.width))

    def call(self, tokens: Any, mask: Any = None) -> Any:
        """Pool sequences.

        Args:
            tokens: [B, L, any width].
            mask: bool [B, L], True = may be attended.

        Returns:
            [B, T, width].
        """
        x = self.norm_before(tokens)
        queries = ops.cast(self.query_vectors, x.dtype)
        if not self.residual:
            queries = self.own_norm(queries)
        queries = ops.broadcast_to(queries, (ops.shape(x)[0], self.queries, self.width))
        pooled = self.attention(queries, x, context_mask=mask)
        return self.own_norm(queries + pooled) if self.residual else pooled
