"""Configuration of `TFNH`; nothing here imports Keras."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, field_validator

from vl_models.encoders.config import FeatureEncoderConfig
from vl_models.layers.reversal_schedule import ReversalSchedule
from vl_models.models.hashing_config import HashingConfig

if TYPE_CHECKING:
    from vl_models.input.config import DataFacts


class TFNHConfig(HashingConfig):
    """Configuration of `TFNH`.

    Attributes:
        system: "tfnh".
        embedding_dim: c, bits of the codes; a multiple of 8.
        image: the image features; only standardisation, no hidden layers.
        text: the text features, likewise.
        hidden_widths: widths of the fusion network before its codes.
        dropout: of the fusion network's hidden layers.
        input_dropout: of the features.
        classifier_hidden_width: width of the label classifier's hidden layer; c / 2 by default.
        label_loss: of the label classifier; the code's least squares learn many classes slowly.
        label_weight: α.
        adversarial_weight: μ.
        graph_weights: β of the paired, image-only and text-only graph terms.
        neighbour_share: of the largest distance: what is nearer is a neighbour among features.
        reversal: how strongly the fusion network works against the data classifiers.
        num_labels: classes of the data; the trainer sets it.
    """

    OWN_LOSSES: ClassVar[tuple[str, ...]] = ("label", "graph", "data_classifiers")
    NEEDS_LABELS: ClassVar[bool] = True
    LEARNS_UNPAIRED: ClassVar[bool] = True

    system: Literal["tfnh"] = "tfnh"
    embedding_dim: PositiveInt = 64
    image: FeatureEncoderConfig = FeatureEncoderConfig(kind="features")
    text: FeatureEncoderConfig = FeatureEncoderConfig(kind="features")
    hidden_widths: tuple[PositiveInt, ...] = (1024, 512)
    dropout: float = Field(default=0.5, ge=0.0, lt=1.0)
    input_dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    classifier_hidden_width: PositiveInt | None = None
    label_loss: Literal["least_squares", "cross_entropy"] = "least_squares"
    label_weight: NonNegativeFloat = 1.0
    adversarial_weight: NonNegativeFloat = 2.0
    graph_weights: tuple[NonNegativeFloat, NonNegativeFloat, NonNegativeFloat] = (0.1, 0.3, 0.3)
    neighbour_share: PositiveFloat = 0.05
    reversal: ReversalSchedule = ReversalSchedule(kind="constant")
    num_labels: PositiveInt | None = None

    @field_validator("image", "text")
    @classmethod
    def _not_encoded(cls, features: FeatureEncoderConfig) -> FeatureEncoderConfig:
        if features.hidden_widths:
            raise ValueError("features enter the fusion network as they are: no hidden layers here")
        return features

    @property
    def inputs(self) -> tuple[str, ...]:
        """Features of both sides."""
        return "image_features", "text_features"

    def completed(self, facts: DataFacts) -> Self:
        """Return the configuration with classes and widths of features."""
        return self.with_values(
            num_labels=len(facts.classes) or None,
            image=self.image.model_copy(update={"width": facts.features["image_features"].width}),
            text=self.text.model_copy(update={"width": facts.features["text_features"].width}),
        )
