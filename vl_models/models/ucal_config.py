"""Configuration of `UCAL`; nothing here imports Keras."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import NonNegativeFloat

from vl_models.models.common_space_config import CommonSpaceConfig
from vl_models.tasks.config import ModalityAdversaryConfig, TaskConfig


class UCALConfig(CommonSpaceConfig):
    """Configuration of `UCAL`.

    Attributes:
        system: "ucal".
        pair_weight: of the correlation term; the code's 100.
        pair_distance: "frobenius": norm of all differences of the batch, as in the vector, so its
            gradient does not depend on the batch's size; "mean_square": mean over pairs of their
            squared distance.
        tasks: the modality adversary, with the code's weight of 0.05.
    """

    OWN_LOSSES: ClassVar[tuple[str, ...]] = ("pair_distance",)

    system: Literal["ucal"] = "ucal"
    pair_weight: NonNegativeFloat = 100.0
    pair_distance: Literal["frobenius", "mean_square"] = "frobenius"
    tasks: tuple[TaskConfig, ...] = (ModalityAdversaryConfig(weight=0.05),)
