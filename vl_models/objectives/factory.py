"""Objectives from configuration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from vl_models.errors import UserError
from vl_models.objectives.base import Objective
from vl_models.objectives.label_classifier import LabelClassifier, LabelClassifierConfig
from vl_models.objectives.modality_adversary import ModalityAdversary, ModalityAdversaryConfig
from vl_models.objectives.pair_margin import PairMargin, PairMarginConfig

ObjectiveConfig = Annotated[
    ModalityAdversaryConfig | PairMarginConfig | LabelClassifierConfig, Field(discriminator="kind")
]


def build_objectives(
    configs: Sequence[ObjectiveConfig],
    num_labels: int | None,
    num_text_labels: int | None = None,
) -> tuple[Objective, ...]:
    """Create objectives, in the order of their configurations.

    Args:
      configs: each kind at most once.
      num_labels: classes of the data; None if unknown.
      num_text_labels: of the texts, if they have a label system of their own.

    Raises:
      UserError: an objective needs labels and the data have none.
    """
    return tuple(_build(config, num_labels, num_text_labels) for config in configs)


def _build(
    config: ObjectiveConfig, num_labels: int | None, num_text_labels: int | None
) -> Objective:
    if isinstance(config, ModalityAdversaryConfig):
        return ModalityAdversary(config)
    if isinstance(config, PairMarginConfig):
        return PairMargin(config)
    if num_labels is None:
        raise UserError(
            "model.objectives: label_classifier needs classes, and the data have none "
            "(label ids). Take it out, or give the data labels."
        )
    return LabelClassifier(config, num_labels, num_text_labels)
