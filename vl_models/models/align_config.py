"""Configuration of `ALIGN`; nothing here imports Keras."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveFloat

from vl_models.models.clip_config import ContrastiveConfig


class ALIGNConfig(ContrastiveConfig):
    """Configuration of `ALIGN`.

    Published: an EfficientNet whose pooled width is the embedding's, BERT's first token and
    one linear layer behind it (``text: {…, pooling: cls}``), temperature and smoothing as
    here, a sum of the two directions.

    Attributes:
        system: "align".
        initial_temperature: σ, which divides the cosines.
        maximum_scale: 1 / lower bound of σ.
        label_smoothing: the paper's 0.1.
        project_image: whether the image side has a projection, too; without it, the pooled
            width of the image encoder must be ``embedding_dim``.
        direction_sum: sum of the two directions (the paper's formula) or their mean.
    """

    system: Literal["align"] = "align"
    initial_temperature: PositiveFloat = 1.0
    maximum_scale: PositiveFloat = 1e3
    label_smoothing: float = Field(default=0.1, ge=0.0, lt=1.0)
    project_image: bool = False
    direction_sum: bool = True
