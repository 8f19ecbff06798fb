"""The transformer block: attention and a two-layer MLP, pre- or post-normalised."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from vl_models.layers import initializers
from vl_models.layers.attention import SelfAttention
from vl_models.layers.configured import ConfiguredLayer
from vl_models.layers.gelu import get_activation
from vl_models.layers.layer_norm import LayerNorm
from vl_models.layers.row_dropout import drop_path, drop_units


class TransformerBlock(ConfiguredLayer):
    """Residual self-attention, then a residual MLP.

    Pre-norm (CLIP, ViT): x + f(norm(x)). Post-norm (BERT): norm(x + f(x)).

    Args:
        heads: attention heads; must divide the width.
        mlp_ratio: hidden width of the MLP over the width.
        activation: "gelu", "quick_gelu" or "relu".
        pre_norm: True for pre-norm, False for post-norm.
        causal: position i attends to positions ≤ i only.
        epsilon: of the layer normalisations.
        dropout: rate on the units of every residual branch while training.
        drop_path: probability that a row skips a residual branch while training.
        qkv_initializer: of the fused attention kernel; U(±1/√fan_in) by default, as all here.
        hidden_initializer: of the MLP's first kernel.
        residual_initializer: of the two kernels that write to the residual stream.
    """

    def __init__(
        self,
        heads: int,
        mlp_ratio: float = 4.0,
        activation: str = "gelu",
        pre_norm: bool = True,
        causal: bool = False,
        epsilon: float = 1e-5,
        dropout: float = 0.0,
        drop_path: float = 0.0,
        qkv_initializer: Any = None,
        hidden_initializer: Any = None,
        residual_initializer: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.heads = heads
        self.mlp_ratio = mlp_ratio
        self.activation = activation
        self.pre_norm = pre_norm
        self.causal = causal
        self.epsilon = epsilon
        self.dropout = dropout
        self.drop_path = drop_path
        default = initializers.uniform_fan_in()
        self.qkv_initializer = initializers.get(qkv_initializer, default)
        self.hidden_initializer = initializers.get(hidden_initializer, default)
        self.residual_initializer = initializers.get(residual_initializer, default)

    def build(self, input_shape: Any) -> None:
        """Create attention, MLP and their normalisations."""
        width = input_shape[-1]
        hidden_width = round(width * self.mlp_ratio)
        policy = self.dtype_policy
        self.attention = self.make_attention(input_shape)
        self.attention_norm = LayerNorm(self.epsilon, dtype=policy, name="attention_norm")
        self.mlp_norm = LayerNorm(self.epsilon, dtype=policy, name="mlp_norm")
        self.mlp_hidden = keras.layers.Dense(
            hidden_width,
            activation=get_activation(self.activation),
            kernel_initializer=initializers.fresh(self.hidden_initializer),
            dtype=policy,
            name="mlp_hidden",
        )
        self.mlp_output = keras.layers.Dense(
            width,
            kernel_initializer=initializers.fresh(self.residual_initializer),
            dtype=policy,
            name="mlp_output",
        )
        for layer in (self.attention_norm, self.mlp_norm, self.mlp_hidden):
            layer.build(input_shape)
        self.mlp_output.build((*input_shape[:-1], hidden_width))

    def make_attention(self, input_shape: Any) -> keras.layers.Layer:
        """Return the layer of the first branch, built."""
        attention = SelfAttention(
            self.heads,
            causal=self.causal,
            qkv_initializer=initializers.fresh(self.qkv_initializer),
            output_initializer=initializers.fresh(self.residual_initializer),
            dtype=self.dtype_policy,
            name="attention",
        )
        attention.build(input_shape)
        return attention

    def call(
        self,
        inputs: Any,
        key_mask: Any = None,
        bias: Any = None,
        seeds: Any = None,
        training: bool = False,
    ) -> Any:
        """Transform a sequence.

        Args:
            inputs: [B, L, width].
            key_mask: bool [B, L], True = token, False = padding.
            bias: float, broadcastable to [B, heads, L, L], added to the attention logits.
            seeds: int32 [B, 2] of the rows; needed to drop in training.
            training: whether something is dropped.

        Returns:
            [B, L, width].
        """
        return self.residual(inputs, lambda x: self.attention(x, key_mask, bias), seeds, training)

    def step(self, inputs: Any, keys: Any, values: Any, place: Any) -> tuple[Any, Any, Any]:
        """Transform one position of a causal sequence; arguments as in `SelfAttention.step`.

        Returns:
            [B, 1, width], and keys and values with those of the position.
        """
        kept: list[Any] = []

        def attend(x: Any) -> Any:
            attended, *found = self.attention.step(x, keys, values, place)
            kept.extend(found)
            return attended

        return (self.residual(inputs, attend), *kept)

    def residual(
        self, inputs: Any, attend: Callable[[Any], Any], seeds: Any = None, training: bool = False
    ) -> Any:
        """Add what ``attend`` makes of the input, then what the MLP makes of the sum."""
        branches = (
            (self.attention_norm, attend),
            (self.mlp_norm, lambda x: self.mlp_output(self.mlp_hidden(x))),
        )
        x = inputs
        for place, (norm, branch) in enumerate(branches):
            added = branch(norm(x) if self.pre_norm else x)
            if training:
                added = drop_units(added, self.dropout, seeds, 2 * place)
                added = drop_path(added, self.drop_path, seeds, 2 * place + 1)
            x = x + added if self.pre_norm else norm(x + added)
        return x

    def attention_weights(self, inputs: Any, key_mask: Any = None) -> Any:
        """How much each position attends to each: float32 [B, heads, L, L], rows sum to 1."""
        x = self.attention_norm(inputs) if self.pre_norm else inputs
        return self.attention.attention_weights(x, key_mask)
