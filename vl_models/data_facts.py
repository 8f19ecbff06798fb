"""What a model's configuration takes from the data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class DataFacts:
    """Sizes and names that are the data's.

    Attributes:
      vocabulary_size: number of token ids; None without texts.
      widths: key of features ("image_features", "text_features") → their width.
      num_labels: classes; None without labels.
      num_text_labels: classes of the texts where they have a label set of their own, else None.
      sources: names of the data sources, in their order.
    """

    vocabulary_size: int | None = None
    widths: Mapping[str, int] = field(default_factory=dict)
    num_labels: int | None = None
    num_text_labels: int | None = None
    sources: tuple[str, ...] = ()
