"""Tasks from configuration."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING

from vl_models.tasks.base import Task
from vl_models.tasks.config import (
    AnyTaskConfig,
    ImageClassifierConfig,
    LabelClassifierConfig,
)

if TYPE_CHECKING:
    from vl_models.models.fusion_config import FusionConfig

# Kind → class, in the module of the kind's name: only what a configuration names is imported.
_TASKS = {
    "modality_adversary": "ModalityAdversary",
    "pair_margin": "PairMargin",
    "label_classifier": "LabelClassifier",
    "image_classifier": "ImageClassifier",
}

# Kind → module in this folder and class, for fusion systems.
_FUSION_TASKS = {
    "itc": ("itc", "ImageTextContrast"),
    "itm": ("itm", "ImageTextMatching"),
    "mlm": ("mlm", "MaskedWords"),
    "mim": ("mim", "MaskedPatches"),
    "mmm": ("shared_pass", "MaskedMultimodal"),
    "mvm": ("shared_pass", "MaskedVisual"),
    "wpa": ("wpa", "WordPatchAlignment"),
    "grounding": ("grounding", "Grounding"),
    "token_scoring": ("token_scoring", "TokenScoring"),
    "retrieval": ("retrieval", "TextRetrieval"),
    "vqa": ("answering", "Answering"),
    "snli_ve": ("answering", "Answering"),
    "nlvr2": ("answering", "Answering"),
}


# The same kinds where the tasks of pairs share a pass.
_SHARED = {"itm": "SharedMatching", "mlm": "SharedMaskedWords"}


def build_fusion_tasks(config: FusionConfig) -> tuple[Task, ...]:
    """Create the tasks of a fusion system, in their order.

    Args:
        config: of the system; a task takes its widths, its vocabulary and the data's answers.

    Raises:
        UserError: a task needs what the vocabulary or the data do not have.
    """
    tasks = []
    for task in config.tasks:
        module, name = _FUSION_TASKS[task.kind]
        of_pairs = getattr(task, "on_pairs", True)
        if config.SHARED_PASS and of_pairs and task.kind in _SHARED:
            module, name = "shared_pass", _SHARED[task.kind]
        tasks.append(getattr(import_module(f"vl_models.tasks.{module}"), name)(task, config))
    return tuple(tasks)


def build_tasks(
    configs: Sequence[AnyTaskConfig],
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
        elif isinstance(config, ImageClassifierConfig):
            tasks.append(task_class(config, num_labels))
        else:
            tasks.append(task_class(config))
    return tuple(tasks)
