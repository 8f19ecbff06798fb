"""The transformer block of a mixture of modality experts: one attention, one MLP per modality."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from vl_models.layers import initializers
from vl_models.layers.attention import SelfAttention
from vl_models.layers.configured import ConfiguredLayer
from vl_models.layers.gelu import get_activation
from vl_models.layers.layer_norm import LayerNorm
from vl_models.layers.layer_scale import LayerScale
from vl_models.layers.row_dropout import drop_path

# A part of a sequence: the expert that it goes to, and how many tokens it has.
Route = tuple[str, int]


class MultiwayBlock(ConfiguredLayer):
    """x + s₁·attention(norm(x)), then x + s₂·MLPₑ(normₑ(x)) with the expert e of each token.

    Attention, its norm and both layer scales are shared by all modalities.
    Source: Bao et al., "VLMo: Unified Vision-Language Pre-Training with
    Mixture-of-Modality-Experts", section 3.2; attention without bias of the keys and layer scale as
    in Bao et al., "BEiT: BERT Pre-Training of Image Transformers".

    Args:
        heads: attention heads; must divide the width.
        experts: names of the experts.
        mlp_ratio: hidden width of the MLPs over the width.
        activation: "gelu", "quick_gelu" or "relu".
        epsilon: of the layer normalisations.
        layer_scale: initial factor of the branches; None leaves the factors out.
        drop_path: probability that a row skips a residual branch while training.
        place: number of the block from 1 on; residual kernels start divided by √(2·place) (BEiT,
            section 2.4).
        initializer_range: standard deviation of the kernels at the start.
    """

    def __init__(
        self,
        heads: int,
        experts: Sequence[str],
        mlp_ratio: float = 4.0,
        activation: str = "gelu",
        epsilon: float = 1e-6,
        layer_scale: float | None = 0.1,
        drop_path: float = 0.0,
        place: int = 1,
        initializer_range: float = 0.02,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.heads = heads
        self.experts = tuple(experts)
        self.mlp_ratio = mlp_ratio
        self.activation = activation
        self.epsilon = epsilon
        self.layer_scale = layer_scale
        self.drop_path = drop_path
        self.place = place
        self.initializer_range = initializer_range

    def build(self, input_shape: Any) -> None:
        """Create attention and the experts."""
        policy = self.dtype_policy
        self.attention = SelfAttention(
            self.heads,
            qkv_initializer=initializers.normal(self.initializer_range),
            output_initializer=self._residual_initializer(),
            key_bias=False,
            dtype=policy,
            name="attention",
        )
        self.attention_norm = LayerNorm(self.epsilon, dtype=policy, name="attention_norm")
        parts: list[keras.layers.Layer] = [self.attention, self.attention_norm]
        if self.layer_scale is not None:
            self.attention_scale, self.mlp_scale = (
                LayerScale(self.layer_scale, dtype=policy, name=name)
                for name in ("attention_scale", "mlp_scale")
            )
            parts += [self.attention_scale, self.mlp_scale]
        self.mlps = {}
        for expert in self.experts:
            norm = LayerNorm(self.epsilon, dtype=policy, name=f"{expert}_norm")
            self.mlps[expert] = (norm, *self._mlp(expert, input_shape[-1]))
            parts.append(norm)
        for layer in parts:
            layer.build(input_shape)

    def call(
        self,
        inputs: Any,
        routes: Sequence[Route],
        key_mask: Any = None,
        bias: Any = None,
        seeds: Any = None,
        training: bool = False,
    ) -> Any:
        """Transform a sequence.

        Args:
            inputs: [B, L, width].
            routes: the expert of each part of the sequence; their lengths add up to L.
            key_mask: bool [B, L], True = token, False = padding.
            bias: float, broadcastable to [B, heads, L, L], added to the attention logits.
            seeds: int32 [B, 2] of the rows; needed to drop in training.
            training: whether branches are dropped.

        Returns:
            [B, L, width].
        """
        x = inputs
        added = self.attention(self.attention_norm(x), key_mask=key_mask, bias=bias)
        x = x + self._branch(added, "attention_scale", seeds, 0, training)
        parts, at = [], 0
        for expert, length in routes:
            norm, hidden, output = self.mlps[expert]
            part = x if length == x.shape[1] else x[:, at : at + length]
            parts.append(output(hidden(norm(part))))
            at += length
        added = parts[0] if len(parts) == 1 else ops.concatenate(parts, axis=1)
        return x + self._branch(added, "mlp_scale", seeds, 1, training)

    def _branch(self, added: Any, scale: str, seeds: Any, stream: int, training: bool) -> Any:
        if self.layer_scale is not None:
            added = getattr(self, scale)(added)
        return drop_path(added, self.drop_path, seeds, stream) if training else added

    def _mlp(self, expert: str, width: int) -> tuple[keras.layers.Dense, keras.layers.Dense]:
        hidden_width = round(width * self.mlp_ratio)
        hidden = keras.layers.Dense(
            hidden_width,
            activation=get_activation(self.activation),
            kernel_initializer=initializers.normal(self.initializer_range),
            dtype=self.dtype_policy,
            name=f"{expert}_mlp_hidden",
        )
        output = keras.layers.Dense(
            width,
            kernel_initializer=self._residual_initializer(),
            dtype=self.dtype_policy,
            name=f"{expert}_mlp_output",
        )
        hidden.build((None, None, width))
        output.build((None, None, hidden_width))
        return hidden, output

    def _residual_initializer(self) -> keras.initializers.Initializer:
        return initializers.normal(self.initializer_range * (2 * self.place) ** -0.5)
