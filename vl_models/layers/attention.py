"""Multi-head self-attention with one fused projection for queries, keys and values."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from vl_models.layers import initializers
from vl_models.layers.configured import ConfiguredLayer

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


class SelfAttention(ConfiguredLayer):
    """Multi-head self-attention over the tokens of a sequence.

    Args:
        heads: number of heads; must divide the width of the input.
        causal: position i attends to positions ≤ i only.
        qkv_initializer: of the fused kernel [width, 3·width]; U(±1/√width) by default.
        output_initializer: of the output kernel [width, width]; same default.
        key_bias: whether keys have a bias, as queries and values do. It shifts all logits of a
            query alike, so that BEiT leaves it out.
    """

    def __init__(
        self,
        heads: int,
        causal: bool = False,
        qkv_initializer: Any = None,
        output_initializer: Any = None,
        key_bias: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.heads = heads
        self.causal = causal
        self.key_bias = key_bias
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
        _check_heads(width, self.heads)
        self.qkv = _dense(self, 3 * width, self.qkv_initializer, "qkv", bias=self.key_bias)
        self.output_projection = _dense(self, width, self.output_initializer, "output")
        self.qkv.build(input_shape)
        self.output_projection.build(input_shape)
        if not self.key_bias:
            self.query_bias, self.value_bias = (
                self.add_weight(name=name, shape=(width,), initializer="zeros")
                for name in ("query_bias", "value_bias")
            )

    def call(self, inputs: Any, key_mask: Any = None, bias: Any = None) -> Any:
        """Attend.

        Args:
            inputs: [B, L, width].
            key_mask: bool [B, L], True = token, False = padding that nobody attends to.
            bias: float, broadcastable to [B, heads, L, L], added to the logits.

        Returns:
            [B, L, width].
        """
        query, key, value = self._heads(inputs)
        mask = self._mask(inputs.shape[1], key_mask)
        attended = dot_product_attention(query, key, value, mask=mask, bias=bias)
        return self.output_projection(_merged(attended))

    def step(self, inputs: Any, keys: Any, values: Any, place: Any) -> tuple[Any, Any, Any]:
        """Attend from one position to itself and those before it, whose keys and values are kept.

        Args:
            inputs: [B, 1, width], what is at the position.
            keys: [B, heads, L, width / heads], those of earlier positions; what is behind them
                does not count.
            values: likewise.
            place: int32 scalar, the position.

        Returns:
            [B, 1, width], and keys and values with those of the position.
        """
        query, key, value = self._heads(inputs)
        start = (0, 0, place, 0)
        keys = ops.slice_update(keys, start, ops.cast(key, keys.dtype))
        values = ops.slice_update(values, start, ops.cast(value, values.dtype))
        mask = (ops.arange(keys.shape[2]) <= place)[None, None, None]
        attended = dot_product_attention(query, keys, values, mask=mask)
        return self.output_projection(_merged(attended)), keys, values

    def attention_weights(self, inputs: Any, key_mask: Any = None) -> Any:
        """How much each position attends to each: float32 [B, heads, L, L], rows sum to 1."""
        query, key, _ = self._heads(inputs)
        return attention_weights(query, key, mask=self._mask(inputs.shape[1], key_mask))

    def _heads(self, inputs: Any) -> Any:
        """Queries, keys and values, each [B, heads, L, width / heads]."""
        projected = self.qkv(inputs)
        if not self.key_bias:
            biases = [self.query_bias, ops.zeros_like(self.query_bias), self.value_bias]
            projected = projected + ops.cast(ops.concatenate(biases), projected.dtype)
        return _split(projected, 3, self.heads)

    def _mask(self, length: int, key_mask: Any) -> Any:
        """Which key each query may attend to, or None for all."""
        mask = None
        if key_mask is not None:
            mask = ops.cast(key_mask, "bool")[:, None, None, :]
        if self.causal:
            visible = ops.tril(ops.ones((length, length), dtype="bool"))[None, None]
            mask = visible if mask is None else ops.logical_and(mask, visible)
        return mask


class CrossAttention(ConfiguredLayer):
    """Multi-head attention of a sequence over a context of another length, and maybe width.

    Source: Vaswani et al., "Attention Is All You Need", section 3.2.3.

    Args:
        heads: number of heads; must divide the width of the input.
        qkv_initializer: of the query kernel [width, width] and the fused kernel of keys and values
            [context width, 2·width]; U(±1/√fan_in) by default.
        output_initializer: of the output kernel [width, width]; same default.
    """

    def __init__(
        self,
        heads: int,
        qkv_initializer: Any = None,
        output_initializer: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.heads = heads
        self.qkv_initializer = initializers.get(qkv_initializer, initializers.uniform_fan_in())
        self.output_initializer = initializers.get(
            output_initializer, initializers.uniform_fan_in()
        )

    def build(self, input_shape: Any, context_shape: Any = None) -> None:
        """Create the three projections; the context is as wide as the input by default.

        Raises:
            ValueError: if the width is no multiple of the number of heads.
        """
        width = input_shape[-1]
        _check_heads(width, self.heads)
        self.query = _dense(self, width, self.qkv_initializer, "query")
        self.key_value = _dense(self, 2 * width, self.qkv_initializer, "key_value")
        self.output_projection = _dense(self, width, self.output_initializer, "output")
        self.query.build(input_shape)
        self.key_value.build(context_shape or input_shape)
        self.output_projection.build(input_shape)

    def call(self, inputs: Any, context: Any, context_mask: Any = None) -> Any:
        """Attend to the context.

        Args:
            inputs: [B, L, width].
            context: [B, M, context width].
            context_mask: bool [B, M], True = may be attended.

        Returns:
            [B, L, width].
        """
        return self.attend(inputs, *self.project(context), context_mask)

    def project(self, context: Any) -> tuple[Any, Any]:
        """Keys and values [B, heads, M, width / heads] of a context [B, M, context width]."""
        key, value = _split(self.key_value(context), 2, self.heads)
        return key, value

    def attend(self, inputs: Any, keys: Any, values: Any, context_mask: Any = None) -> Any:
        """Attend to a context of which `project` has made keys and values; else as the call."""
        (query,) = _split(self.query(inputs), 1, self.heads)
        mask = None if context_mask is None else ops.cast(context_mask, "bool")[:, None, None, :]
        attended = dot_product_attention(query, keys, values, mask=mask)
        return self.output_projection(_merged(attended))


def _dense(
    layer: keras.layers.Layer, units: int, initializer: Any, name: str, bias: bool = True
) -> keras.layers.Dense:
    """Return a part of ``layer``."""
    return keras.layers.Dense(
        units,
        use_bias=bias,
        kernel_initializer=initializers.fresh(initializer),
        dtype=layer.dtype_policy,
        name=name,
    )


def _check_heads(width: int, heads: int) -> None:
    if width % heads:
        raise ValueError(
            "The width must be a multiple of the number of heads. "
            f"Received: width={width}, heads={heads}"
        )


def _split(projected: Any, parts: int, heads: int) -> Any:
    """[B, L, parts · width] as ``parts`` tensors [B, heads, L, width / heads]."""
    length, width = projected.shape[1], projected.shape[2] // parts
    shape = (-1, length, parts, heads, width // heads)
    return ops.unstack(ops.transpose(ops.reshape(projected, shape), (2, 0, 3, 1, 4)), axis=0)


def _merged(attended: Any) -> Any:
    """[B, heads, L, width / heads] as [B, L, width]."""
    _, heads, length, width = attended.shape
    return ops.reshape(ops.transpose(attended, (0, 2, 1, 3)), (-1, length, heads * width))
