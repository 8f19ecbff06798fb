"""Configuration of `DSCMR`; nothing here imports Keras."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import NonNegativeFloat, PositiveInt

from vl_models.encoders.config import FeatureEncoderConfig, ImageEncoderConfig, TextEncoderConfig
from vl_models.models.common_space_config import CommonSpaceConfig


class DSCMRConfig(CommonSpaceConfig):
    """Configuration of `DSCMR`; the defaults are the released code's.

    Attributes:
        system: "dscmr".
        likelihood_weight: λ of the objective J = J1 + λ J2 + η J3.
        pair_weight: η.
    """

    OWN_LOSSES: ClassVar[tuple[str, ...]] = ("label_distance", "likelihood", "pair_distance")
    NEEDS_LABELS: ClassVar[bool] = True

    system: Literal["dscmr"] = "dscmr"
    embedding_dim: PositiveInt = 1024
    image: ImageEncoderConfig = FeatureEncoderConfig(
        kind="features", hidden_widths=(2048,), activation="relu"
    )
    text: TextEncoderConfig = FeatureEncoderConfig(
        kind="features", hidden_widths=(2048,), activation="relu"
    )
    vector_activation: Literal["tanh", "linear"] = "linear"
    shared_projection: bool = True
    likelihood_weight: NonNegativeFloat = 1e-3
    pair_weight: NonNegativeFloat = 1e-1

    @property
    def classifies(self) -> bool:
        """DSCMR has a classifier of its own, beside any task."""
        return True
