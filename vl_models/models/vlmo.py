"""VLMo: a mixture of modality experts that is a dual encoder and a fusion encoder in one.

Bao et al., "VLMo: Unified Vision-Language Pre-Training with Mixture-of-Modality-Experts".
"""

from __future__ import annotations

import tensorflow as tf

from vl_models.batch import Outputs
from vl_models.fusion.embedded import embedded_image
from vl_models.fusion.multiway import IMAGE, PAIR, MultiwayEncoder
from vl_models.fusion.tokens import Fused, Tokens, fused, side_by_side
from vl_models.layers.masked_mean import masked_mean
from vl_models.layers.relative_position_bias import Modality
from vl_models.models.fusion_model import FusionModel
from vl_models.models.vlmo_config import VLMoConfig


class VLMo(FusionModel):
    """Shared attention; experts for texts, for images and, in the top blocks, for pairs.

    Args:
        config: sizes and tasks; ``vocabulary_size`` must be set.

    Raises:
        ValueError: a size that is the data's is None.
    """

    config: VLMoConfig

    def __init__(self, config: VLMoConfig) -> None:
        super().__init__(
            config,
            absolute_positions=not config.relative_positions,
            mask_token=any(task.kind == "mim" for task in config.tasks),
        )
        self.encoder = MultiwayEncoder(
            config.width,
            config.depth,
            config.heads,
            config.pair_from,
            config.grid,
            config.max_length,
            config.mlp_ratio,
            relative_positions=config.relative_positions,
            layer_scale=config.layer_scale,
            drop_path=config.drop_path,
            epsilon=config.epsilon,
            initializer_range=config.initializer_range,
            dtype=config.precision,
            name="encoder",
        )
        self.add_tasks()

    @property
    def has_pair_experts(self) -> bool:
        """Whether some blocks have an expert for pairs."""
        return self.config.pair_from < self.config.depth

    def encode_pairs(
        self, text: Tokens, image: Tokens, seeds: tf.Tensor | None, training: bool
    ) -> Fused:
        """See `FusionModel`."""
        hidden = self.encoder(
            side_by_side(text, image), modality=PAIR, seeds=seeds, training=training
        )
        x = self.encoder.norm_after(hidden)
        return fused(x, text, image, self.encoder.pooler(x))

    def alone(
        self,
        tokens: Tokens,
        modality: Modality,
        seeds: tf.Tensor | None = None,
        training: bool = False,
        *,
        branches: bool = False,
    ) -> tuple[tf.Tensor, tf.Tensor | None]:
        """See `FusionModel`; all are after the last norm."""
        encoder, split = self.encoder, self.config.pair_from
        options = {"modality": modality, "seeds": seeds, "training": training}
        lower = encoder(tokens, blocks=range(split), **options)
        below, top = Tokens(lower, tokens.mask), range(split, self.config.depth)
        own = encoder.norm_after(encoder(below, blocks=top, **options))
        if not (branches and self.has_pair_experts):
            return own, None
        return own, encoder.norm_after(encoder(below, blocks=top, as_pair=True, **options))

    def pool_alone(self, values: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        """See `FusionModel`."""
        return masked_mean(values, mask) if self.config.pooling == "mean" else values[:, 0]

    def image_tokens(self, outputs: Outputs) -> Tokens:
        """Images by themselves, through their experts; those of the contrast, if it was made."""
        image = embedded_image(outputs)
        if "image_tokens" in outputs:
            return Tokens(outputs["image_tokens"], image.mask)
        return Tokens(self.alone(image, IMAGE)[0], image.mask)
