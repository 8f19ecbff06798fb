"""Configuration of `SigLIP`; nothing here imports Keras."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import PositiveFloat

from vl_models.choices import PositivesMode
from vl_models.models.dual_encoder_config import DualEncoderConfig


class SigLIPConfig(DualEncoderConfig):
    """Configuration of `SigLIP`.

    Attributes:
        system: "siglip".
        initial_temperature: of the published t' = ln 10.
        maximum_scale: bound of the inverse temperature.
        initial_bias: -10: at the start nearly all pairs are negatives, and known to be.
        positives: what a known click beside the pairs is, see `pairwise_sigmoid_sums`.
        weigh_queries: whether a pair weighs in by its position-debiased clicks.
    """

    OWN_LOSSES: ClassVar[tuple[str, ...]] = ("sigmoid",)

    system: Literal["siglip"] = "siglip"
    initial_temperature: PositiveFloat = 0.1
    maximum_scale: PositiveFloat = 1000.0
    initial_bias: float = -10.0
    positives: PositivesMode = "uniform"
    weigh_queries: bool = False
