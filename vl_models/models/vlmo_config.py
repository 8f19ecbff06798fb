"""Configuration of `VLMo`; nothing here imports Keras."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, PositiveFloat, model_validator

from vl_models.choices import ImageFit
from vl_models.models.fusion_config import FusionConfig
from vl_models.tasks.fusion_config import FusionTaskConfig, ITCConfig, ITMConfig, MLMConfig


class VLMoConfig(FusionConfig):
    """Configuration of `VLMo`.

    Attributes:
        pair_from: number of the first block with an expert for pairs, from 0; ``depth`` for none.
            Published: 10 of 12 (base), 21 of 24 (base_plus and large).
        relative_positions: whether attention knows relative positions (base and large); else
            images and texts have learned absolute ones (base_plus).
        layer_scale: initial factor of the branches; None for none (base_plus).
        pooling: what stands for a modality that is read alone: its first token, as published, or
            the mean of its tokens, which small encoders learn faster.
        image_fit: "crop"; the relative positions are those of a square grid.
        tasks: as published by default: contrast, matching with hard negatives, a quarter of MLM.
    """

    KINDS: ClassVar[tuple[str, ...]] = (
        "itc",
        "itm",
        "mlm",
        "mim",
        "wpa",
        "grounding",
        "token_scoring",
        "retrieval",
        "vqa",
        "nlvr2",
        "snli_ve",
    )
    UNPAIRED_TASKS: ClassVar[tuple[str, ...]] = ("mlm", "mim")

    system: Literal["vlmo"] = "vlmo"
    image_fit: ImageFit = "crop"
    pair_from: int = Field(default=3, ge=0)
    relative_positions: bool = True
    layer_scale: PositiveFloat | None = 0.1
    pooling: Literal["first", "mean"] = "first"
    tasks: tuple[FusionTaskConfig, ...] = (
        ITCConfig(),
        ITMConfig(negatives="hard"),
        MLMConfig(weight=0.25),
    )

    @model_validator(mode="after")
    def _pairs_within_depth(self) -> VLMoConfig:
        if self.pair_from > self.depth:
            raise ValueError(
                f"pair_from is at most depth, here pair_from={self.pair_from}, depth={self.depth}"
            )
        if self.image_fit == "pad":
            raise ValueError("VLMo reads square images; take image_fit: crop, or system: vilt")
        return self
