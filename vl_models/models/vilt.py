"""ViLT: one transformer over words and patches.

Kim et al., "ViLT: Vision-and-Language Transformer Without Convolution or Region Supervision".
"""

from __future__ import annotations

import tensorflow as tf

from vl_models.fusion.single_stream import SingleStreamEncoder
from vl_models.fusion.tokens import Fused, Tokens
from vl_models.layers.masked_mean import masked_mean
from vl_models.layers.relative_position_bias import Modality
from vl_models.models.fusion_model import FusionModel
from vl_models.models.vilt_config import ViLTConfig


class ViLT(FusionModel):
    """Text and image side by side in one stream; it learns MLM, matching and alignment.

    Args:
        config: sizes and tasks; ``vocabulary_size`` must be set.

    Raises:
        ValueError: a size that is the data's is None.
    """

    config: ViLTConfig

    def __init__(self, config: ViLTConfig) -> None:
        super().__init__(
            config,
            absolute_positions=True,
            mask_token=False,
            maximum_patches=config.maximum_patches,
        )
        self.encoder = SingleStreamEncoder(
            config.width,
            config.depth,
            config.heads,
            config.mlp_ratio,
            dropout=config.dropout,
            drop_path=config.drop_path,
            epsilon=config.epsilon,
            initializer_range=config.initializer_range,
            dtype=config.precision,
            name="encoder",
        )
        self.add_tasks()

    def encode_pairs(
        self, text: Tokens, image: Tokens, seeds: tf.Tensor | None, training: bool
    ) -> Fused:
        """See `FusionModel`."""
        return self.encoder(text, image, seeds=seeds, training=training)

    def alone(
        self,
        tokens: Tokens,
        modality: Modality,
        seeds: tf.Tensor | None = None,
        training: bool = False,
        *,
        branches: bool = False,
    ) -> tuple[tf.Tensor, tf.Tensor | None]:
        """What the image encoder and the words' embedding give: alignment before fusion.

        See `FusionModel`. After Li et al., "Align before Fuse: Vision and Language Representation
        Learning with Momentum Distillation", section 3.2.
        """
        return tokens.values, None

    def pool_alone(self, values: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        """See `FusionModel`; the mean of all tokens."""
        return masked_mean(values, mask)
