"""Configuration of `SSAH`; nothing here imports Keras."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import NonNegativeFloat, PositiveInt

from vl_models.encoders.config import FeatureEncoderConfig, ImageEncoderConfig, TextEncoderConfig
from vl_models.models.dual_encoder_config import DualEncoderConfig
from vl_models.models.hashing_config import HashingConfig


class SSAHConfig(HashingConfig, DualEncoderConfig):
    """Configuration of `SSAH`.

    Attributes:
        system: "ssah".
        embedding_dim: c, bits of the codes; a multiple of 8.
        feature_dim: S, width of the semantic features.
        label_hidden_width: width of the label network's hidden layer.
        image: before the image network's semantic features.
        text: before the text network's.
        bank_size: rows of the memory banks; best as many as the train split has.
        feature_weight: α, of the likelihood of the features (J1).
        hash_weight: γ, of that of the codes (J2).
        quantization_weight: β (J3).
        label_weight: η (J4).
        adversarial_weight: δ.
        balance_pairs: whether pairs of one class weigh as much in J1 and J2 as all others. The
            paper's sums are dominated by pairs of different classes: with C of them, by C - 1 to 1,
            which drives features to 0, where rectified units stay.
    """

    OWN_LOSSES: ClassVar[tuple[str, ...]] = (
        "label_network",
        "image_network",
        "text_network",
        "discriminators",
    )
    NEEDS_LABELS: ClassVar[bool] = True

    system: Literal["ssah"] = "ssah"
    embedding_dim: PositiveInt = 64
    feature_dim: PositiveInt = 512
    label_hidden_width: PositiveInt = 512
    image: ImageEncoderConfig = FeatureEncoderConfig(
        kind="features", hidden_widths=(1024,), activation="relu"
    )
    text: TextEncoderConfig = FeatureEncoderConfig(
        kind="features", hidden_widths=(1024,), activation="relu"
    )
    bank_size: PositiveInt = 2048
    feature_weight: NonNegativeFloat = 1.0
    hash_weight: NonNegativeFloat = 1.0
    quantization_weight: NonNegativeFloat = 0.1
    label_weight: NonNegativeFloat = 1.0
    adversarial_weight: NonNegativeFloat = 1.0
    balance_pairs: bool = True
