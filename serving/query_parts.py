"""What a search looks for: texts, images and items of the index, more or less of each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from serving import arguments
from serving.errors import ServingError

MOST_PARTS = 16
_CANCELLED = 1e-4  # length of a sum of unit vectors that points nowhere


@dataclass(frozen=True)
class QueryPart:
    """A text, an image or an item; exactly one of them.

    Attributes:
        text: in any language.
        image: an encoded image, of any format that `serving.images` reads.
        id: of an item of the index.
        weight: of its unit vector in the sum; below 0 for less of it.

    Raises:
        ServingError: none or several of them, an empty text, or a weight that is 0 or no number.
    """

    text: str | None = None
    image: bytes | None = None
    id: str | None = None
    weight: float = 1.0

    def __post_init__(self) -> None:
        if sum(value is not None for value in (self.text, self.image, self.id)) != 1:
            raise ServingError("A part of a query is a text, an image or an id: one of them.")
        weight: Any = self.weight
        is_number = isinstance(weight, int | float) and not isinstance(weight, bool)
        if not is_number or not math.isfinite(weight) or not 1e-6 <= abs(weight) <= 1e6:
            raise ServingError(
                "The weight of a part is a number between 0.000001 and 1,000,000, or the negative "
                f"of one. Received: weight={weight!r}."
            )
        if self.text is not None:
            arguments.check_query(self.text)


def checked_parts(parts: Sequence[QueryPart]) -> tuple[QueryPart, ...]:
    """Return the parts of a query.

    Raises:
        ServingError: none, too many, or none that there should be more of.
    """
    if not 1 <= len(parts) <= MOST_PARTS:
        raise ServingError(f"A query has 1 to {MOST_PARTS} parts. Received: {len(parts)}.")
    return tuple(parts)


def weighted_sum(vectors: np.ndarray, weights: Sequence[float]) -> np.ndarray:
    """Unit vector of a query, float32 [D]: the sum of its parts' unit vectors [P, D] by weights.

    Raises:
        ServingError: the parts cancel each other.
    """
    total = np.asarray(weights, np.float64) / np.abs(weights).max() @ vectors.astype(np.float64)
    length = np.linalg.norm(total)
    if length < _CANCELLED:
        raise ServingError("The parts of the query cancel each other. Change a weight.")
    return (total / length).astype(np.float32)
