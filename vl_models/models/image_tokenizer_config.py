"""Configuration of `ImageTokenizer`; nothing here imports Keras."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import NonNegativeFloat, model_validator

from vl_models.encoders.config import CNNConfig, CodebookConfig
from vl_models.models.base_config import ModelConfig


class ImageTokenizerConfig(ModelConfig):
    """Configuration of `ImageTokenizer`.

    Attributes:
        image: the encoder, whose stride divides ``image_size``; the decoder mirrors it.
        codebook: the codes.
        commitment_weight: β of the commitment loss.
    """

    OWN_LOSSES: ClassVar[tuple[str, ...]] = ("reconstruction", "commitment")
    LEARNS_UNPAIRED: ClassVar[bool] = True

    system: Literal["image_tokenizer"] = "image_tokenizer"
    image: CNNConfig = CNNConfig(kind="cnn", widths=(64, 128), blocks=(1, 1))
    codebook: CodebookConfig = CodebookConfig()
    commitment_weight: NonNegativeFloat = 0.25

    @property
    def inputs(self) -> tuple[str, ...]:
        """Images alone."""
        return ("image",)

    @model_validator(mode="after")
    def _stride_divides_image(self) -> Self:
        if self.image_size % self.image.stride:
            raise ValueError(
                f"image_size must be a multiple of the encoder's stride, {self.image.stride} "
                f"(stem_stride · 2 for each further width), here image_size={self.image_size}"
            )
        return self
