"""One transformer for images, texts and pairs, with an expert for each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from vl_models.fusion.tokens import Tokens
from vl_models.layers.configured import ConfiguredLayer
from vl_models.layers.layer_norm import LayerNorm
from vl_models.layers.multiway_block import MultiwayBlock, Route
from vl_models.layers.pooler import Pooler
from vl_models.layers.relative_position_bias import Modality, RelativePositionBias
from vl_models.row_random import stream_seed

IMAGE: Literal["image"] = "image"
TEXT: Literal["text"] = "text"
PAIR: Literal["pair"] = "pair"


class MultiwayEncoder(ConfiguredLayer):
    """Blocks with shared attention and an expert for texts, images and, in the top blocks, pairs.

    Below ``pair_from`` the tokens of a pair go to the experts of their modalities; from there on
    the pair's expert takes all of them. Images or texts alone go through their own expert
    everywhere.
    Source: Bao et al., "VLMo: Unified Vision-Language Pre-Training with
    Mixture-of-Modality-Experts", section 3.2.

    Args:
        width: W, width of a token.
        depth: number of blocks.
        heads: attention heads.
        pair_from: number of the first block with a pair's expert, from 0; ``depth`` for none.
        grid: patches on a side of the image.
        text_length: tokens of a text.
        mlp_ratio: hidden width of the MLPs over W.
        relative_positions: whether attention has a bias by relative position.
        layer_scale: see `MultiwayBlock`.
        drop_path: probability that a row skips a branch of the last block; lower before it, from 0.
        epsilon: of the layer normalisations.
        initializer_range: standard deviation of the kernels at the start.
    """

    def __init__(
        self,
        width: int,
        depth: int,
        heads: int,
        pair_from: int,
        grid: int,
        text_length: int,
        mlp_ratio: float = 4.0,
        relative_positions: bool = True,
        layer_scale: float | None = 0.1,
        drop_path: float = 0.0,
        epsilon: float = 1e-6,
        initializer_range: float = 0.02,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.width = width
        self.depth = depth
        self.heads = heads
        self.pair_from = pair_from
        self.grid = grid
        self.text_length = text_length
        self.mlp_ratio = mlp_ratio
        self.relative_positions = relative_positions
        self.layer_scale = layer_scale
        self.drop_path = drop_path
        self.epsilon = epsilon
        self.initializer_range = initializer_range
        policy = self.dtype_policy
        self.blocks = [
            MultiwayBlock(
                heads,
                (TEXT, IMAGE, *([PAIR] if index >= pair_from else [])),
                mlp_ratio=mlp_ratio,
                epsilon=epsilon,
                layer_scale=layer_scale,
                drop_path=drop_path * index / max(1, depth - 1),
                place=index + 1,
                initializer_range=initializer_range,
                dtype=policy,
                name=f"block_{index}",
            )
            for index in range(depth)
        ]
        if relative_positions:
            self.position_bias = RelativePositionBias(
                grid, text_length, heads, depth, dtype=policy, name="position_bias"
            )
        self.norm_after = LayerNorm(epsilon, dtype=policy, name="norm_after")
        self.pooler = Pooler(initializer_range, dtype=policy, name="pooler")

    def build(self, input_shape: Any = None) -> None:
        """Create all variables."""
        for layer in (*self.blocks, self.norm_after, self.pooler):
            layer.build((None, None, self.width))
        if self.relative_positions:
            self.position_bias.build()

    def call(
        self,
        tokens: Tokens,
        *,
        modality: Modality,
        blocks: range | None = None,
        as_pair: bool = False,
        seeds: Any = None,
        training: bool = False,
    ) -> Any:
        """Send sequences through some or all blocks.

        Args:
            tokens: [B, S, W] and their mask; of a pair the text's tokens, then the image's.
            modality: what they are; it decides about experts and relative positions.
            blocks: which ones; all by default.
            as_pair: whether the pair's expert takes the place of a single modality's.
            seeds: int32 [B, 2] of the rows; needed to drop in training.
            training: whether branches are dropped.

        Returns:
            [B, S, W], without the last norm.
        """
        x = tokens.values
        blocks = range(self.depth) if blocks is None else blocks
        biases = {}
        if self.relative_positions:
            biases = self.position_bias(modality=modality, blocks=blocks)
        for index in blocks:
            x = self.blocks[index](
                x,
                routes=self._routes(index, modality, as_pair, x.shape[1]),
                key_mask=None if modality == IMAGE else tokens.mask,
                bias=biases.get(index),
                seeds=None if seeds is None else stream_seed(seeds, index),
                training=training,
            )
        return x

    def _routes(self, index: int, modality: Modality, as_pair: bool, size: int) -> Sequence[Route]:
        if as_pair or (modality == PAIR and index >= self.pair_from):
            return [(PAIR, size)]
        if modality == PAIR:
            return [(TEXT, self.text_length), (IMAGE, size - self.text_length)]
        return [(modality, size)]
