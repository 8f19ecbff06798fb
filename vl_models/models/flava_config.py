"""Configuration of `FLAVA`; nothing here imports Keras."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, PositiveInt, model_validator

from vl_models.choices import ImageFit
from vl_models.models.fusion_config import FusionConfig
from vl_models.tasks.fusion_config import FusionTaskConfig, ITCConfig, ITMConfig


class FLAVAConfig(FusionConfig):
    """Configuration of `FLAVA`; the published tasks are in `configs/flava.yaml`.

    Attributes:
        depth: blocks of the image encoder and of the text encoder.
        multimodal_depth: blocks of the joint encoder; 6 beside 12 as published.
        negative_share: of pairs, how many get another text on the average, so that matching has
            something to tell apart; 0.1 as published.
        sees_padding: whether the joint encoder attends to the padding of texts, as its authors'
            program does; Hugging Face's does not.
        pooling: what stands for a modality that is read alone: its first token, as published, or
            the mean of its tokens.
        image_fit: "crop".
        tasks: what is learnt. ``mim`` and ``mlm`` are of images and texts alone, where ``mmm`` is
            there for pairs: give them ``on_pairs: false``.
    """

    KINDS: ClassVar[tuple[str, ...]] = (
        "itc",
        "mmm",
        "itm",
        "mim",
        "mlm",
        "grounding",
        "token_scoring",
        "retrieval",
        "vqa",
        "nlvr2",
        "snli_ve",
    )
    UNPAIRED_TASKS: ClassVar[tuple[str, ...]] = ("mim", "mlm")
    SHARED_PASS: ClassVar[bool] = True

    system: Literal["flava"] = "flava"
    multimodal_depth: PositiveInt = 2
    negative_share: float = Field(default=0.1, ge=0.0, le=1.0)
    sees_padding: bool = False
    pooling: Literal["first", "mean"] = "first"
    image_fit: ImageFit = "crop"
    tasks: tuple[FusionTaskConfig, ...] = (ITCConfig(bias=True), ITMConfig())

    @model_validator(mode="after")
    def _square_images(self) -> FLAVAConfig:
        if self.image_fit == "pad":
            raise ValueError("FLAVA reads square images; take image_fit: crop")
        return self

    @model_validator(mode="after")
    def _contrast_comes_before_the_pass(self) -> FLAVAConfig:
        matching, kinds = self.task("itm"), [task.kind for task in self.tasks]
        hard = isinstance(matching, ITMConfig) and matching.negatives == "hard"
        if hard and "mmm" in kinds and kinds.index("mmm") < kinds.index("itc"):
            raise ValueError(
                "negatives: hard of itm needs itc before mmm, which makes the pass that they share"
            )
        return self
