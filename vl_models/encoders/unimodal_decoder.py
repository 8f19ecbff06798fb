"""CoCa's text tower: the lower half of its decoder, which has not seen an image."""

from __future__ import annotations

from typing import Any

from keras import ops

from vl_models.encoders.transformer_encoder import TransformerEncoder
from vl_models.layers import initializers
from vl_models.layers.masked_mean import masked_mean


class UnimodalDecoder(TransformerEncoder):
    """Causal pre-norm blocks over a text, with a learned class token behind its last position.

    Words do not see the class token, so that their hidden states can go on to words to come; it
    sees all of them, and is the text's embedding. It has a position of its own, the last one.
    Source: Yu et al., "CoCa: Contrastive Captioners are Image-Text Foundation Models", section 3.2
    (unimodal text decoder); initialisation as CLIP's.

    Args:
        vocabulary_size: number of token ids.
        width: W, width of a token.
        depth: number of blocks.
        heads: attention heads.
        mlp_ratio: hidden width of the MLPs over W.
        activation: "gelu", "quick_gelu" or "relu".
        dropout: rate on the residual branches while training.
        drop_path: probability that a row skips a branch of the last block.
        epsilon: of the layer normalisations.
        pooling: "class", the class token as published, or the "mean" of the words, which narrow
            encoders learn sooner.
        shifted_mask: whether the mask of padding is shifted by one position, as in open_clip's
            released models: it has the class token's place in front, so that the first padding is
            seen and the last token is not.
    """

    POOLINGS = ("class", "mean")

    def __init__(
        self,
        vocabulary_size: int,
        width: int,
        depth: int,
        heads: int,
        mlp_ratio: float = 4.0,
        activation: str = "gelu",
        dropout: float = 0.0,
        drop_path: float = 0.0,
        epsilon: float = 1e-5,
        pooling: str = "class",
        shifted_mask: bool = False,
        **kwargs: Any,
    ) -> None:
        sizes = (width, depth, heads, mlp_ratio, activation, pooling, dropout, drop_path, epsilon)
        super().__init__(*sizes, block=causal_block(width, depth), **kwargs)
        self.vocabulary_size = vocabulary_size
        self.shifted_mask = shifted_mask

    def build(self, input_shape: Any) -> None:
        """Create all variables for token ids of shape [B, L]."""
        length = input_shape[-1] + 1
        self.token_embedding = self.add_weight(
            name="token_embedding",
            shape=(self.vocabulary_size, self.width),
            initializer=initializers.normal(0.02),
            autocast=False,  # rows are gathered before they are cast, not the whole table
        )
        self.positions = self.add_weight(
            name="positions", shape=(length, self.width), initializer=initializers.normal(0.01)
        )
        self.class_vector = self.add_weight(
            name="class_vector", shape=(self.width,), initializer=initializers.normal(0.01)
        )
        self.build_blocks(length)

    def call(
        self, token_ids: Any, text_mask: Any, seeds: Any = None, training: bool = False
    ) -> dict[str, Any]:
        """Encode texts.

        Args:
            token_ids: int32 [B, L].
            text_mask: bool [B, L], True = token, False = padding that nobody attends to.
            seeds: int32 [B, 2] of the texts; needed to drop in training.
            training: whether something is dropped.

        Returns:
            ``hidden`` [B, L, W], the words before the last norm, for the decoder's upper half;
            ``tokens``, the same after it; and ``pooled`` [B, W], the class token after it or the
            mean of ``tokens``.
        """
        x = ops.cast(ops.take(self.token_embedding, token_ids, axis=0), self.compute_dtype)
        last = ops.broadcast_to(self.class_vector, (ops.shape(x)[0], 1, self.width))
        x = ops.concatenate([x, ops.cast(last, x.dtype)], axis=1)
        x = x + ops.cast(self.positions, x.dtype)
        mask = ops.cast(text_mask, "bool")
        seen = ops.ones_like(mask[:, :1])
        mask = ops.concatenate([seen, mask] if self.shifted_mask else [mask, seen], axis=1)
        encoded = self.encode(x, mask, seeds=seeds, training=training)
        words = encoded["tokens"][:, :-1]
        pooled = encoded["tokens"][:, -1]
        if self.pooling == "mean":
            pooled = masked_mean(words, text_mask)
        return {"hidden": encoded["hidden"][:, :-1], "tokens": words, "pooled": pooled}

    def step(self, token_ids: Any, place: Any, cache: Any) -> tuple[Any, Any]:
        """Read one more token of texts without padding.

        Args:
            token_ids: int32 [N], what is at the place.
            place: int32 scalar.
            cache: keys and values of each block, see `SelfAttention.step`.

        Returns:
            [N, 1, W], the token before the last norm, and the new cache.
        """
        x = ops.cast(ops.take(self.token_embedding, token_ids, axis=0), self.compute_dtype)
        x = x + ops.cast(ops.take(self.positions, place, axis=0), x.dtype)
        return step_through(self.blocks, x[:, None], place, cache)


def causal_block(width: int, depth: int) -> dict[str, Any]:
    """Return what the causal blocks of CLIP's text tower share: mask and initialisation."""
    return {
        "causal": True,
        "qkv_initializer": initializers.normal(width**-0.5),
        "hidden_initializer": initializers.normal((2 * width) ** -0.5),
        "residual_initializer": initializers.normal((2 * depth * width) ** -0.5),
    }


def step_through(blocks: Any, x: Any, place: Any, cache: Any) -> tuple[Any, Any]:
    """Send one position [N, 1, W] through causal blocks; return it and the new cache."""
    kept = []
    for block, (keys, values) in zip(blocks, cache, strict=True):
        x, *found = block.step(x, keys, values, place)
        kept.append(tuple(found))
    return x, tuple(kept)
