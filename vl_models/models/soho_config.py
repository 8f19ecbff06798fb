"""Configuration of `SOHO`; nothing here imports Keras."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from vl_models.encoders.config import DictionaryConfig, GridEncoderConfig, ResNetConfig
from vl_models.models.fusion_config import FusionConfig
from vl_models.tasks.fusion_config import FusionTaskConfig, ITMConfig, MLMConfig, MVMConfig


class SOHOConfig(FusionConfig):
    """Configuration of `SOHO`.

    Attributes:
        image: the convolutional encoder.
        pool: side of the squares of its map that become one cell; 2 as published.
        convolve_first: whether the neck convolves before it pools (the paper), or after it (the
            published program).
        dictionary: the visual dictionary; None for cells alone, as in the
            published program's VQA. The published decay is 0.4 with ``keep_unused: false``.
        mix: how cells and entries are put together, see `VisualDictionary`.
        sentences: that each image is read with.
        true_sentences: of these, its own texts; ``train.texts_per_image`` should be as many.
        exact_sentences: whether there are exactly so many true ones; else each sentence is replaced
            by another image's with the probability that makes as many in expectation, as in the
            published program.
        positives_only: whether words and cells of true sentences alone are to be guessed; the
            published program has those of all guessed.
        tasks: as published by default: masked words, masked cells, matching.
    """

    KINDS: ClassVar[tuple[str, ...]] = (
        "mlm",
        "mvm",
        "itm",
        "grounding",
        "retrieval",
        "vqa",
        "nlvr2",
        "snli_ve",
    )
    SHARED_PASS: ClassVar[bool] = True
    MATCHING_BIAS: ClassVar[bool] = False

    system: Literal["soho"] = "soho"
    image: GridEncoderConfig = ResNetConfig(kind="resnet")
    pool: PositiveInt = 2
    convolve_first: bool = False
    dictionary: DictionaryConfig | None = DictionaryConfig()
    mix: Literal["gated", "plain"] = "gated"
    sentences: int = Field(default=4, ge=2)
    true_sentences: PositiveInt = 2
    exact_sentences: bool = True
    positives_only: bool = True
    epsilon: PositiveFloat = 1e-12
    tasks: tuple[FusionTaskConfig, ...] = (
        MLMConfig(tied=True, whole_words=False),
        MVMConfig(),
        ITMConfig(),
    )

    @property
    def _stride(self) -> int:
        return self.image.stride * self.pool

    @model_validator(mode="after")
    def _sentences_fit(self) -> SOHOConfig:
        if self.true_sentences >= self.sentences:
            raise ValueError(
                "some of the sentences must be other images': true_sentences is below sentences, "
                f"here {self.true_sentences} of {self.sentences}"
            )
        if self.image.kind == "vit":
            raise ValueError("SOHO's image encoder is convolutional: kind cnn or resnet")
        if self.width % 4:
            raise ValueError(f"positions need a width that is a multiple of 4, here {self.width}")
        return self

    @model_validator(mode="after")
    def _dictionary_fits(self) -> SOHOConfig:
        if self.dictionary is None and self.task("mvm"):
            raise ValueError("mvm guesses entries of the dictionary, and there is none")
        if self.image_fit == "pad" and self.task("grounding"):
            raise ValueError("grounding reads the whole grid; take image_fit: crop")
        return self
