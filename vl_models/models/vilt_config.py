"""Configuration of `ViLT`; nothing here imports Keras."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import PositiveInt, model_validator

from vl_models.models.fusion_config import FusionConfig
from vl_models.tasks.fusion_config import FusionTaskConfig, ITMConfig, MLMConfig, WPAConfig


class ViLTConfig(FusionConfig):
    """Configuration of `ViLT`.

    Attributes:
        maximum_patches: of an image in training, drawn by its seed; 200 as published.
        tasks: as published by default, MLM, matching of half of the texts, and alignment.
    """

    KINDS: ClassVar[tuple[str, ...]] = (
        "itc",
        "itm",
        "mlm",
        "wpa",
        "grounding",
        "token_scoring",
        "retrieval",
        "vqa",
        "nlvr2",
        "snli_ve",
    )

    system: Literal["vilt"] = "vilt"
    maximum_patches: PositiveInt = 200
    tasks: tuple[FusionTaskConfig, ...] = (MLMConfig(), ITMConfig(layout="half"), WPAConfig())

    @model_validator(mode="after")
    def _image_tokens_come_apart(self) -> ViLTConfig:
        apart = [task.kind for task in self.tasks if task.kind in ("itc", "token_scoring")]
        if self.image is None and apart:
            raise ValueError(
                f"{apart[0]} needs an image encoder apart (model.image): without one, images are "
                "read by the joint encoder alone, and nothing of them can be computed before"
            )
        if self.task("grounding") and self.maximum_patches < self.grid**2:
            raise ValueError(
                f"grounding reads the whole grid: maximum_patches must be at least {self.grid**2}"
            )
        if self.image is not None and self.image_fit == "pad":
            raise ValueError(
                "image_fit: pad is for linear patches; an image encoder sees what is beyond them"
            )
        return self
