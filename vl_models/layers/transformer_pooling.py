"""A small transformer over the vectors of a set, and the mean of what it makes of them."""

from __future__ import annotations

from typing import Any

from keras import ops

from vl_models.layers.configured import ConfiguredLayer
from vl_models.layers.masked_mean import masked_mean
from vl_models.layers.projection import l2_normalize
from vl_models.layers.transformer_block import TransformerBlock


class TransformerPooling(ConfiguredLayer):
    """Normalise vectors to unit length, post-norm transformer blocks with ReLU, masked mean.

    BriVL puts it on image regions and on text tokens; its dropout of 0.1 is left out, since
    randomness here comes from the batch's seeds alone.
    Source: Huo et al., "WenLan: Bridging Vision and Language by Large-Scale Multi-Modal
    Pre-Training", section 3.1.

    Args:
        depth: number of blocks; BriVL's 4.
        heads: attention heads; BriVL's 4.
        mlp_ratio: hidden width of the MLPs over W.
    """

    def __init__(
        self, depth: int = 4, heads: int = 4, mlp_ratio: float = 1.0, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.depth = depth
        self.heads = heads
        self.mlp_ratio = mlp_ratio
        self.blocks = [
            TransformerBlock(
                heads,
                mlp_ratio=mlp_ratio,
                activation="relu",
                pre_norm=False,
                dtype=self.dtype_policy,
                name=f"block_{index}",
            )
            for index in range(depth)
        ]

    def build(self, input_shape: Any) -> None:
        """Create the blocks for vectors of one width."""
        for block in self.blocks:
            block.build(input_shape)

    def call(self, vectors: Any, mask: Any = None) -> Any:
        """Pool sets of vectors.

        Args:
            vectors: [B, L, W].
            mask: bool [B, L], True = vector, False = padding, which changes nothing.

        Returns:
            [B, W].
        """
        x = ops.cast(l2_normalize(vectors), self.compute_dtype)
        for block in self.blocks:
            x = block(x, key_mask=mask)
        return masked_mean(x, mask)
