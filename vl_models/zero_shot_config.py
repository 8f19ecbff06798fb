"""Configuration of zero-shot classification; nothing here imports TensorFlow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

import pydantic

from vl_models.strict_config import StrictConfig

LABELS: Literal["labels"] = "labels"
SLOT = "{}"

# Every template serves every class name: people label in one language and search in another.
DEFAULT_TEMPLATES = (
    "{}",
    "a picture of {}.",
    "a photo of {}.",
    "an image showing {}.",
    "a drawing of {}.",
    "a close-up of {}.",
    "{}的图片",
    "{}的照片",
    "一张{}的图片。",
    "画的是{}。",
)


class ZeroShotConfig(StrictConfig):
    """Which classes images can be told apart by, and how a class becomes texts.

    Attributes:
        classes: "labels", the label texts of the train split, or a list of names.
        templates: texts with one ``{}`` each, where the name goes.
        top_k: classes that the exported signature returns; at most all there are.
        prefix: text prefix to encode with; None is the model's default.
        max_classes: of "labels", so many of the commonest.
    """

    classes: Literal["labels"] | tuple[str, ...] = LABELS
    templates: tuple[str, ...] = DEFAULT_TEMPLATES
    top_k: pydantic.PositiveInt = 5
    prefix: str | None = None
    max_classes: pydantic.PositiveInt = 1000

    @pydantic.field_validator("classes", mode="plain")
    @classmethod
    def _are_labels_or_names(cls, value: Any) -> str | tuple[str, ...]:
        if isinstance(value, str) and value == LABELS:
            return value
        if not isinstance(value, list | tuple) or not all(isinstance(x, str) for x in value):
            raise ValueError("Input should be 'labels' or a list of names")
        check_distinct("class names", value)
        return tuple(value)

    @pydantic.field_validator("templates")
    @classmethod
    def _have_one_slot(cls, templates: tuple[str, ...]) -> tuple[str, ...]:
        check_distinct("templates", templates)
        for template in templates:
            if template.count(SLOT) != 1:
                raise ValueError(
                    f"a template has exactly one {SLOT}, where the name goes: {template!r} has "
                    f"{template.count(SLOT)}"
                )
        return templates


def check_distinct(what: str, texts: Sequence[str]) -> None:
    """Raise a `ValueError` unless there are texts, none empty and none twice."""
    if not texts:
        raise ValueError(f"at least one of the {what} is needed")
    if not all(text.strip() for text in texts):
        raise ValueError(f"the {what} must not be empty texts")
    text, count = Counter(text.strip() for text in texts).most_common(1)[0]
    if count > 1:
        raise ValueError(f"the {what} must differ: {text!r} occurs {count} times")
