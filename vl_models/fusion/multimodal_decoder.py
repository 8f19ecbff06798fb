"""The upper half of CoCa's decoder: words that see an image."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from vl_models.encoders.unimodal_decoder import causal_block
from vl_models.layers import initializers
from vl_models.layers.configured import ConfiguredLayer
from vl_models.layers.cross_attention_block import CrossAttentionBlock
from vl_models.layers.layer_norm import LayerNorm
from vl_models.layers.transformer_block import TransformerBlock
from vl_models.row_random import stream_seed


class MultimodalDecoder(ConfiguredLayer):
    """Causal blocks, each followed by a block that reads the image; then the next word's logits.

    Source: Yu et al., "CoCa: Contrastive Captioners are Image-Text Foundation Models", section 3.2
    (multimodal text decoder); two whole blocks per layer as in open_clip.

    Args:
        vocabulary_size: V.
        width: W, width of a token.
        depth: number of layers.
        heads: attention heads.
        mlp_ratio: hidden width of the MLPs over W.
        activation: "gelu", "quick_gelu" or "relu".
        dropout: rate on the residual branches while training.
        epsilon: of the layer normalisations.
        tied: whether the logits are products with the token embeddings that the call is given; else
            with a matrix of its own.
    """

    def __init__(
        self,
        vocabulary_size: int,
        width: int,
        depth: int,
        heads: int,
        mlp_ratio: float = 4.0,
        activation: str = "gelu",
        dropout: float = 0.0,
        epsilon: float = 1e-5,
        tied: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.vocabulary_size = vocabulary_size
        self.width = width
        self.depth = depth
        self.heads = heads
        self.mlp_ratio = mlp_ratio
        self.activation = activation
        self.dropout = dropout
        self.epsilon = epsilon
        self.tied = tied
        policy, options = self.dtype_policy, causal_block(width, depth)
        options |= {"mlp_ratio": mlp_ratio, "activation": activation, "epsilon": epsilon}
        options |= {"heads": heads, "dropout": dropout, "dtype": policy}
        self.blocks = [TransformerBlock(**options, name=f"block_{i}") for i in range(depth)]
        del options["causal"]
        self.cross_blocks = [
            CrossAttentionBlock(**options, name=f"cross_block_{i}") for i in range(depth)
        ]
        self.norm_after = LayerNorm(epsilon, dtype=policy, name="norm_after")
        self.vocabulary = None
        if not tied:
            self.vocabulary = keras.layers.Dense(
                vocabulary_size,
                use_bias=False,
                kernel_initializer=initializers.normal(width**-0.5),
                dtype=policy,
                name="vocabulary",
            )

    def build(self, words_shape: Any, memory_shape: Any = None) -> None:
        """Create all variables; the image's vectors are as wide as the words."""
        shape = (None, None, self.width)
        for layer in (*self.blocks, *self.cross_blocks, self.norm_after, self.vocabulary):
            if layer is not None:
                layer.build(shape)

    def call(
        self,
        words: Any,
        memory: Any,
        embeddings: Any = None,
        seeds: Any = None,
        training: bool = False,
    ) -> Any:
        """Predict the next words.

        Args:
            words: [B, L, W], from the unimodal decoder. Padding comes behind all tokens, so that
                the causal mask hides it.
            memory: [B, M, W], the image's vectors.
            embeddings: [V, W], those of the tokens; needed where they are ``tied``.
            seeds: int32 [B, 2] of the texts; needed to drop in training.
            training: whether something is dropped.

        Returns:
            Logits float32 [B, L, V] of the words at the places behind those of ``words``.
        """
        x = words
        for index, (block, cross) in enumerate(zip(self.blocks, self.cross_blocks)):
            own = [None, None]
            if seeds is not None:
                own = [stream_seed(seeds, 2 * index), stream_seed(seeds, 2 * index + 1)]
            x = block(x, seeds=own[0], training=training)
            x = cross(x, memory, seeds=own[1], training=training)
        return self.logits(x, embeddings)

    def project(self, memory: Any) -> Any:
        """Keys and values of the image's vectors for each layer, for `step`."""
        return tuple(block.project(memory) for block in self.cross_blocks)

    def step(self, x: Any, place: Any, cache: Any, memory: Any, embeddings: Any = None) -> Any:
        """Predict the word behind one place.

        Args:
            x: [N, 1, W], the token at the place, from the unimodal decoder.
            place: int32 scalar.
            cache: keys and values of each block, see `SelfAttention.step`.
            memory: from `project`.
            embeddings: as in the call.

        Returns:
            Logits float32 [N, V], and the new cache.
        """
        kept = []
        layers = zip(self.blocks, self.cross_blocks, cache, memory, strict=True)
        for block, cross, (keys, values), image in layers:
            x, *found = block.step(x, keys, values, place)
            kept.append(tuple(found))
            x = cross.read(x, *image)
        return self.logits(x, embeddings)[:, 0], tuple(kept)

    def logits(self, x: Any, embeddings: Any = None) -> Any:
        """Logits float32 [B, L, V] of words [B, L, W] after the last block."""
        x = self.norm_after(x)
        if self.vocabulary is None:
            return ops.cast(ops.matmul(x, ops.transpose(ops.cast(embeddings, x.dtype))), "float32")
        return ops.cast(self.vocabulary(x), "float32")
