"""Tasks from configuration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from vl_models.errors import UserError
from vl_models.tasks.base import Task
from vl_models.tasks.label_classifier import LabelClassifier, LabelClassifierConfig
from vl_models.tasks.modality_adversary import ModalityAdversary, ModalityAdversaryConfig
from vl_models.tasks.pair_margin import PairMargin, PairMarginConfig

TaskConfig = Annotated[
    ModalityAdversaryConfig | PairMarginConfig | LabelClassifierConfig, Field(discriminator="kind")
]


def build_tasks(
    configs: Sequence[TaskConfig],
    num_labels: int | None,
    num_text_labels: int | None = None,
) -> tuple[Task, ...]:
    """Create tasks, in the order of their configurations.

    Args:
      configs: each kind at most once.
      num_labels: classes of the data; None if unknown.
      num_text_labels: of the texts, if they have a label set of their own.

    Raises:
      UserError: an task needs labels and the data have none.
    """
    return tuple(_build(config, num_labels, num_text_labels) for config in configs)


def _build(config: TaskConfig, num_labels: int | None, num_text_labels: int | None) -> Task:
    if isinstance(config, ModalityAdversaryConfig):
        return ModalityAdversary(config)
    if isinstance(config, PairMarginConfig):
        return PairMargin(config)
    if num_labels is None:
        raise UserError(
            "model.tasks: label_classifier needs classes, and the data have none "
            "(label ids). Take it out, or give the data labels."
        )
    return LabelClassifier(config, num_labels, num_text_labels)
