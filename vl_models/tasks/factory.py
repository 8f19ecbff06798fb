"""Tasks from configuration."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module

from vl_models.tasks.base import Task
from vl_models.tasks.config import LabelClassifierConfig, TaskConfig

# Kind → class, in the module of the kind's name: only what a configuration names is imported.
_TASKS = {
    "modality_adversary": "ModalityAdversary",
    "pair_margin": "PairMargin",
    "label_classifier": "LabelClassifier",
}


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
        UserError: a task needs labels and the data have none.
    """
    tasks = []
    for config in configs:
        task_class = getattr(import_module(f"vl_models.tasks.{config.kind}"), _TASKS[config.kind])
        if isinstance(config, LabelClassifierConfig):
            tasks.append(task_class(config, num_labels, num_text_labels))
        else:
            tasks.append(task_class(config))
    return tuple(tasks)
