"""Configuration of `CoCa`; nothing here imports Keras."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import NonNegativeFloat, PositiveInt, model_validator

from vl_models.encoders.config import ImageEncoderConfig, UnimodalDecoderConfig, ViTConfig
from vl_models.generation.config import CaptionConfig, CaptionTokens
from vl_models.models.clip_config import ContrastiveConfig
from vl_models.tasks.config import AnyTaskConfig

if TYPE_CHECKING:
    from vl_models.input.config import DataFacts


class CoCaConfig(ContrastiveConfig):
    """Configuration of `CoCa`.

    Attributes:
        image: the image encoder, of which all tokens are read.
        text: the unimodal half of the decoder; the other half is as wide.
        multimodal_depth: layers of the multimodal half; None for as many as the unimodal one has.
        tie_logits: whether words are predicted by their embeddings; open_clip has a matrix apart.
        pooling: how the two attentional poolers are put together, see `ImagePooling`.
        queries: vectors that an image is pooled to for captions; 256 as published.
        pooler_heads: attention heads of the poolers.
        captioning_weight: of the captioning loss; 2 as published.
        contrastive_weight: of the contrastive loss; 1 as published.
        captioned_texts: of each image's texts, how many the captioning loss is of; None for all.
            The contrastive loss is of all.
        caption: how captions are written.
        tasks: those of all dual encoders, and `image_classifier`.
        caption_tokens: of the vocabulary; the trainer sets it.
        classes: names of the classes, for `image_classifier`; likewise.
    """

    OWN_LOSSES: ClassVar[tuple[str, ...]] = ("contrastive", "captioning")

    system: Literal["coca"] = "coca"
    image: ImageEncoderConfig = ViTConfig(kind="vit")
    text: UnimodalDecoderConfig = UnimodalDecoderConfig()  # type: ignore[assignment]
    multimodal_depth: PositiveInt | None = None
    tie_logits: bool = False
    pooling: Literal["cascade", "parallel", "single", "encoder"] = "cascade"
    queries: PositiveInt = 256
    pooler_heads: PositiveInt = 8
    captioning_weight: NonNegativeFloat = 2.0
    contrastive_weight: NonNegativeFloat = 1.0
    captioned_texts: PositiveInt | None = None
    caption: CaptionConfig = CaptionConfig()
    tasks: tuple[AnyTaskConfig, ...] = ()  # type: ignore[assignment]
    caption_tokens: CaptionTokens = CaptionTokens()
    classes: tuple[str, ...] = ()

    @property
    def learns_from_labels(self) -> bool:
        """Whether batches must hold ``label``."""
        return super().learns_from_labels or any(t.kind == "image_classifier" for t in self.tasks)

    @property
    def decoder_depth(self) -> int:
        """Layers of the multimodal half."""
        return self.text.depth if self.multimodal_depth is None else self.multimodal_depth

    @model_validator(mode="after")
    def _reads_pixels(self) -> CoCaConfig:
        if self.image.kind == "features":
            raise ValueError("captions are read off an image's tokens, and features have none")
        return self

    @model_validator(mode="after")
    def _poolers_fit(self) -> CoCaConfig:
        if self.text.width % self.pooler_heads:
            raise ValueError(
                "the poolers are as wide as the text: text.width must be a multiple of "
                f"pooler_heads, here width={self.text.width}, pooler_heads={self.pooler_heads}"
            )
        if self.pooling == "single" and self.queries < 2:
            raise ValueError("pooling: single needs queries of 2 or more, one for the embedding")
        if self.shared_projection:
            raise ValueError("shared_projection is for towers of the other systems")
        return self

    def completed(self, facts: DataFacts) -> Self:
        """Return the configuration with what the vocabulary and the data say."""
        values: dict[str, object] = {}
        if facts.caption_tokens is not None:
            values["caption_tokens"] = facts.caption_tokens
        if facts.classes:
            values["classes"] = facts.classes
        return super().completed(facts).with_values(**values)
