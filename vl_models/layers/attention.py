"""Multi-head self-attention with one fused projection for queries, keys and values."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from vl_models.layers import initializers

# Finite: a row whose keys are all masked gets uniform weights instead of NaN.
_MASKED = -1e9


def dot_product_attention(
    query: Any, key: Any, value: Any, *, mask: Any = None, bias: Any = None
) -> Any:
    """Compute softmax(q kᵀ / √d + bias) v, the softmax in float32.

    Source: Vaswani et al., "Attention Is All You Need", equation 1.

    Args:
      query: [B, heads, Lq, d].
      key: [B, heads, Lk, d].
      value: [B, heads, Lk, d].
      mask: bool, broadcastable to [B, heads, Lq, Lk]; True = may be attended.
      bias: float, broadcastable to [B, heads, Lq, Lk], added to the logits.

    Returns:
      [B, heads, Lq, d] in the dtype of ``value``.
    """
    weights = attention_weights(query, key, mask=mask, bias=bias)
    return ops.matmul(ops.cast(weights, value.dtype), value)


def attention_weights(query: Any, key: Any, *, mask: Any = None, bias: Any = None) -> Any:
    """Compute softmax(q kᵀ / √d + bias); arguments as in `dot_product_attention`.

    Returns:
      float32 [B, heads, Lq, Lk], rows sum to 1.
    """
    scale = 1.0 / math.sqrt(query.shape[-1])
    logits = ops.matmul(query * ops.cast(scale, query.dtype), ops.transpose(key, (0, 1, 3, 2)))
    logits = ops.cast(logits, "float32")
    if bias is not None:
        logits = logits + ops.cast(bias, "float32")
    if mask is not None:
        logits = ops.where(mask, logits, _MASKED)
    return ops.softmax(logits, axis=-1)


@keras.saving.register_keras_serializable("vlsearch")
class SelfAttention(keras.layers.Layer):
    """Multi-head self-attention over the tokens of a sequence.

    Args:
      heads: number of heads; must divide the width of the input.
      causal: position i attends to positions ≤ i only.
      qkv_initializer: of the fused kernel [width, 3·width]; U(±1/√width) by default.
      output_initializer: of the output kernel [width, width]; same default.
    """

    def __init__(
        self,
        heads: int,
        causal: bool = False,
        qkv_initializer: Any = None,
        output_initializer: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.heads = heads
        self.causal = causal
        self.qkv_initializer = initializers.get(qkv_initializer, initializers.uniform_fan_in())
        self.output_initializer = initializers.get(
            output_initializer, initializers.uniform_fan_in()
        )

    def build(self, input_shape: Any) -> None:
        """Create the two projections.

        Raises:
          ValueError: if the width is no multiple of the number of heads.
        """
        width = input_shape[-1]
        if width % self.heads:
            raise ValueError(
                "The width must be a multiple of the number of heads. "
                f"Received: width={width}, heads={self.heads}"
            )
        self.qkv = keras.layers.Dense(
            3 * width,
            kernel_initializer=initializers.fresh(self.qkv_initializer),
            dtype=self.dtype_policy,
            name="qkv",
        )
        self.output_projection = keras.layers.Dense(
            width,
            kernel_initializer=initializers.fresh(self.output_initializer),
            dtype=self.dtype_policy,
            name="output",
        )
        self.qkv.build(input_shape)
        self.output_projection.build(input_shape)

    def call(self, inputs: Any, key_mask: Any = None, bias: Any = None) -> Any:
        """Attend.

        Args:
          inputs: [B, L, width].
          key_mask: bool [B, L], True = token, False = padding that nobody attends to.
          bias: float, broadcastable to [B, heads, L, L], added to the logits.

        Returns:
          [B, L, width].
        """
        length, width = inputs.shape[1], inputs.shape[2]
        query, key, value = self._heads(inputs)
        mask = self._mask(length, key_mask)
        attended = dot_product_attention(query, key, value, mask=mask, bias=bias)
        merged = ops.reshape(ops.transpose(attended, (0, 2, 1, 3)), (-1, length, width))
        return self.output_projection(merged)

    def attention_weights(self, inputs: Any, key_mask: Any = None) -> Any:
        """How much each position attends to each: float32 [B, heads, L, L], rows sum to 1."""
        query, key, _ = self._heads(inputs)
        return attention_weights(query, key, mask=self._mask(inputs.shape[1], key_mask))

    def _heads(self, inputs: Any) -> Any:
        """Queries, keys and values, each [B, heads, L, width / heads]."""
        length, width = inputs.shape[1], inputs.shape[2]
        shape = (-1, length, 3, self.heads, width // self.heads)
        qkv = ops.transpose(ops.reshape(self.qkv(inputs), shape), (2, 0, 3, 1, 4))
        return ops.unstack(qkv, axis=0)

    def _mask(self, length: int, key_mask: Any) -> Any:
        """Which key each query may attend to, or None for all."""
        mask = None
        if key_mask is not None:
            mask = ops.cast(key_mask, "bool")[:, None, None, :]
        if self.causal:
            visible = ops.tril(ops.ones((length, length), dtype="bool"))[None, None]
            mask = visible if mask is None else ops.logical_and(mask, visible)
        return mask

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {
            **super().get_config(),
            "heads": self.heads,
            "causal": self.causal,
            "qkv_initializer": keras.initializers.serialize(self.qkv_initializer),
            "output_initializer": keras.initializers.serialize(self.output_initializer),
        }
