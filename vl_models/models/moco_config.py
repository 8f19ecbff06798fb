"""Configuration of `MoCo`; nothing here imports Keras."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from vl_models.encoders.config import ImageEncoderConfig, ViTConfig
from vl_models.models.momentum_contrast_config import MomentumContrastConfig


class MoCoConfig(MomentumContrastConfig):
    """Configuration of `MoCo`.

    The defaults are v2's; v1 has ``head: linear`` and ``temperature: 0.07``. Augmentation is
    the input's: ``views: 2`` and ``augmentation: moco_v1`` or ``moco_v2``.

    Attributes:
        embedding_dim: D, the width of the embedding.
        image: the image encoder.
        head: "linear" (v1) or "mlp" (v2), of both encoders.
    """

    OWN_LOSSES: ClassVar[tuple[str, ...]] = ("contrastive",)
    LEARNS_UNPAIRED: ClassVar[bool] = True

    system: Literal["moco"] = "moco"
    embedding_dim: PositiveInt = 128
    image: ImageEncoderConfig = ViTConfig(kind="vit")
    head: Literal["linear", "mlp"] = "mlp"
    momentum: float = Field(default=0.999, ge=0.0, le=1.0)
    temperature: PositiveFloat = 0.2

    @property
    def inputs(self) -> tuple[str, ...]:
        """Two views of one image."""
        return "image", "image_2"
