"""The transformer block: attention and a two-layer MLP, pre- or post-normalised."""

from __future__ import annotations

from typing import Any

import keras

from vl_models.layers import initializers
from vl_models.layers.attention import SelfAttention
from vl_models.layers.gelu import get_activation
from vl_models.layers.layer_norm import LayerNorm


@keras.saving.register_keras_serializable("vlsearch")
class TransformerBlock(keras.layers.Layer):
    """Residual self-attention, then a residual MLP.

    Pre-norm (CLIP, ViT): x + f(norm(x)). Post-norm (BERT): norm(x + f(x)).

    Args:
      heads: attention heads; must divide the width.
      mlp_ratio: hidden width of the MLP over the width.
      activation: "gelu", "quick_gelu" or "relu".
      pre_norm: True for pre-norm, False for post-norm.
      causal: position i attends to positions ≤ i only.
      epsilon: of the layer normalisations.
      dropout: rate on both residual branches while training.
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
        default = initializers.uniform_fan_in()
        self.qkv_initializer = initializers.get(qkv_initializer, default)
        self.hidden_initializer = initializers.get(hidden_initializer, default)
        self.residual_initializer = initializers.get(residual_initializer, default)

    def build(self, input_shape: Any) -> None:
        """Create attention, MLP and the two normalisations."""
        width = input_shape[-1]
        hidden_width = round(width * self.mlp_ratio)
        policy = self.dtype_policy
        self.attention = SelfAttention(
            self.heads,
            causal=self.causal,
            qkv_initializer=initializers.fresh(self.qkv_initializer),
            output_initializer=initializers.fresh(self.residual_initializer),
            dtype=policy,
            name="attention",
        )
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
        self.residual_dropout = keras.layers.Dropout(self.dropout, dtype=policy, name="dropout")
        for layer in (self.attention, self.attention_norm, self.mlp_norm, self.mlp_hidden):
            layer.build(input_shape)
        self.mlp_output.build((*input_shape[:-1], hidden_width))

    def call(
        self, inputs: Any, key_mask: Any = None, bias: Any = None, training: bool = False
    ) -> Any:
        """Transform a sequence.

        Args:
          inputs: [B, L, width].
          key_mask: bool [B, L], True = token, False = padding.
          bias: float, broadcastable to [B, heads, L, L], added to the attention logits.
          training: whether dropout acts.

        Returns:
          [B, L, width].
        """

        def attend(x: Any) -> Any:
            return self.residual_dropout(self.attention(x, key_mask, bias), training=training)

        def perceive(x: Any) -> Any:
            return self.residual_dropout(self.mlp_output(self.mlp_hidden(x)), training=training)

        if self.pre_norm:
            x = inputs + attend(self.attention_norm(inputs))
            return x + perceive(self.mlp_norm(x))
        x = self.attention_norm(inputs + attend(inputs))
        return self.mlp_norm(x + perceive(x))

    def attention_weights(self, inputs: Any, key_mask: Any = None) -> Any:
        """How much each position attends to each: float32 [B, heads, L, L], rows sum to 1."""
        x = self.attention_norm(inputs) if self.pre_norm else inputs
        return self.attention.attention_weights(x, key_mask)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {
            **super().get_config(),
            "heads": self.heads,
            "mlp_ratio": self.mlp_ratio,
            "activation": self.activation,
            "pre_norm": self.pre_norm,
            "causal": self.causal,
            "epsilon": self.epsilon,
            "dropout": self.dropout,
            "qkv_initializer": keras.initializers.serialize(self.qkv_initializer),
            "hidden_initializer": keras.initializers.serialize(self.hidden_initializer),
            "residual_initializer": keras.initializers.serialize(self.residual_initializer),
        }
