"""Image-text contrast of the modalities alone: what makes a fusion encoder a dual encoder, too."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from vl_models.batch import Batch, Outputs
from vl_models.encoders.towers import text_seeds
from vl_models.fusion.tokens import Tokens
from vl_models.layers.projection import Projection
from vl_models.layers.temperature import Temperature
from vl_models.losses.collapsed import with_equal_logits
from vl_models.losses.gathered import gathered_contrastive_loss
from vl_models.losses.positives import PairHashes
from vl_models.tasks.base import Task
from vl_models.tasks.fusion_config import ITCConfig

if TYPE_CHECKING:
    from vl_models.models.fusion_config import FusionConfig

SIDES = ("image", "text")
_SEEDS = 51


class ImageTextContrast(Task):
    """Symmetric contrastive loss of images and texts that are read by themselves.

    Where the encoder has experts of pairs, these read the modalities alone, too, and the loss is
    the mean of both contrasts, each with its own projections and temperature.
    Source: Bao et al., "VLMo: Unified Vision-Language Pre-Training with
    Mixture-of-Modality-Experts", section 3.3, and its published program (two branches).

    Args:
        config: options.
        model: configuration of the system.
    """

    config: ITCConfig

    def __init__(self, config: ITCConfig, model: FusionConfig) -> None:
        super().__init__(config)
        dim = config.embedding_dim or model.width

        def branch(prefix: str) -> dict[str, Any]:
            scale = config.maximum_scale
            return {
                **{
                    side: Projection(
                        dim,
                        config.bias,
                        dtype=model.precision,
                        name=f"{prefix}{side}_projection",
                    )
                    for side in SIDES
                },
                "temperature": Temperature(
                    config.initial_temperature,
                    maximum_scale=math.inf if scale is None else scale,
                    dtype="float32",
                    name=f"{prefix}temperature",
                ),
            }

        self.own = branch("")
        has_pair_experts = getattr(model, "pair_from", model.depth) < model.depth
        self.paired = branch("pair_") if config.pair_branch and has_pair_experts else None

    def forward(self, model: Any, batch: Batch, outputs: Outputs, training: bool) -> Outputs:
        """Embed what the batch holds.

        Returns:
            ``image_embedding`` [B, D] and ``text_embedding`` [B·n, D], unit-norm float32; those of
            the second branch after ``pair_``; ``image_tokens`` [B, N, W], the images by themselves;
            ``itc_scale``, the inverse temperature.
        """
        added: Outputs = {"itc_scale": self.own["temperature"].scale()}
        for side in SIDES:
            if f"{side}_embedded" in outputs:
                own, paired = self._alone(model, side, batch, outputs, training)
                mask = outputs[f"{side}_embedded_mask"]
                added[f"{side}_embedding"] = self.own[side](model.pool_alone(own, mask))
                if paired is not None and self.paired is not None:
                    pooled = model.pool_alone(paired, mask)
                    added[f"pair_{side}_embedding"] = self.paired[side](pooled)
                if side == "image":
                    added["image_tokens"] = own
        return added

    def losses(self, batch: Batch, outputs: Outputs) -> dict[str, tf.Tensor]:
        """``itc``; nothing if a modality is absent."""
        found = [self._contrast(batch, outputs, "", self.own)]
        if self.paired is not None:
            found.append(self._contrast(batch, outputs, "pair_", self.paired))
        losses = [loss for loss in found if loss is not None]
        if not losses:
            return {}
        return {"itc": self.config.weight * tf.add_n(losses) / len(losses)}

    def collapsed_losses(self, batch: Batch, outputs: Outputs) -> dict[str, tf.Tensor]:
        """Return ln(candidates), the mean of both directions."""
        equal = with_equal_logits(outputs)
        loss = self._contrast(batch, equal, "", self.own)
        return {} if loss is None else {"itc": self.config.weight * loss}

    def after_update(self) -> None:
        """Bring the temperatures back between their bounds."""
        for branch in (self.own, self.paired):
            if branch is not None:
                branch["temperature"].clamp()

    def scalars(self) -> dict[str, tf.Tensor]:
        """Return the temperature 1 / scale."""
        return {"temperature": 1.0 / self.own["temperature"].scale()}

    def abilities(self, model: Any) -> Mapping[str, Callable[..., tf.Tensor]]:
        """A dual encoder: ``encode_image`` and ``encode_text``."""

        def encode(side: str) -> Callable[[Batch], tf.Tensor]:
            def encode_side(batch: Batch) -> tf.Tensor:
                outputs = model.encode(batch, training=False)
                own, _ = self._alone(model, side, batch, outputs, training=False, branches=False)
                return self.own[side](model.pool_alone(own, outputs[f"{side}_embedded_mask"]))

            return encode_side

        return {f"encode_{side}": encode(side) for side in SIDES}

    def _alone(
        self,
        model: Any,
        side: str,
        batch: Batch,
        outputs: Outputs,
        training: bool,
        branches: bool = True,
    ) -> tuple[tf.Tensor, tf.Tensor | None]:
        tokens = Tokens(outputs[f"{side}_embedded"], outputs[f"{side}_embedded_mask"])
        seeds = None
        if training and "seed" in batch:
            seeds = text_seeds(batch, tokens.values.shape[0], _SEEDS + SIDES.index(side))
        return model.alone(
            tokens, side, seeds, training, branches=branches and self.paired is not None
        )

    def _contrast(
        self, batch: Batch, outputs: Outputs, prefix: str, branch: Mapping[str, Any]
    ) -> tf.Tensor | None:
        keys = [f"{prefix}{side}_embedding" for side in SIDES]
        if not set(keys) <= outputs.keys():
            return None
        images, texts = (outputs[key] for key in keys)
        weights = outputs.get("pass_positive")
        if weights is not None:  # rows that were put together otherwise are no pairs here
            weights = tf.repeat(weights, texts.shape[0] // images.shape[0])
        return gathered_contrastive_loss(
            images,
            texts,
            branch["temperature"].scale(),
            PairHashes.of_batch(batch, images.shape[0], texts.shape[0]),
            form=self.config.gather,
            mode=self.config.positives,
            label_smoothing=self.config.label_smoothing,
            weights=weights,
        )
