"""A block that reads a context: residual cross-attention and a residual MLP."""

from __future__ import annotations

from typing import Any

import keras

from vl_models.layers import initializers
from vl_models.layers.attention import CrossAttention
from vl_models.layers.layer_norm import LayerNorm
from vl_models.layers.transformer_block import TransformerBlock


class CrossAttentionBlock(TransformerBlock):
    """x + attention(norm(x), norm(context)), then x + mlp(norm(x)).

    A decoder puts it behind a block of self-attention.
    Sources: Vaswani et al., "Attention Is All You Need", section 3.1; pre-norm, with a norm for the
    context, as in open_clip's CoCa. Arguments as in `TransformerBlock`.
    """

    def build(self, inputs_shape: Any, context_shape: Any = None) -> None:  # type: ignore[override]
        """Create attention, MLP and norms; the context is as wide as the input by default."""
        self._context_shape = context_shape or inputs_shape
        super().build(inputs_shape)
        self.context_norm = LayerNorm(self.epsilon, dtype=self.dtype_policy, name="context_norm")
        self.context_norm.build(self._context_shape)

    def make_attention(self, input_shape: Any) -> keras.layers.Layer:
        """See `TransformerBlock`."""
        attention = CrossAttention(
            self.heads,
            qkv_initializer=initializers.fresh(self.qkv_initializer),
            output_initializer=initializers.fresh(self.residual_initializer),
            dtype=self.dtype_policy,
            name="attention",
        )
        attention.build(input_shape, self._context_shape)
        return attention

    def call(  # type: ignore[override]
        self,
        inputs: Any,
        context: Any,
        context_mask: Any = None,
        seeds: Any = None,
        training: bool = False,
    ) -> Any:
        """Transform a sequence.

        Args:
            inputs: [B, L, width].
            context: [B, M, any width].
            context_mask: bool [B, M], True = may be attended.
            seeds: int32 [B, 2] of the rows; needed to drop in training.
            training: whether something is dropped.

        Returns:
            [B, L, width].
        """
        context = self.context_norm(context)
        return self.residual(
            inputs, lambda x: self.attention(x, context, context_mask=context_mask), seeds, training
        )

    def project(self, context: Any) -> tuple[Any, Any]:
        """Keys and values of a context, for `read`."""
        return self.attention.project(self.context_norm(context))

    def read(self, inputs: Any, keys: Any, values: Any) -> Any:
        """Transform [B, L, width] with the context of which `project` has made keys and values."""
        return self.residual(inputs, lambda x: self.attention.attend(x, keys, values))
