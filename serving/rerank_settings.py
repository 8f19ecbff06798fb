"""How a release orders what its reranker has scored. Needs the standard library alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from serving import arguments
from serving.errors import ServingError

RERANKER = "reranker"  # the model's name in a release
SCORE, SUM = "score", "sum"
ORDERS = (SCORE, SUM)


@dataclass(frozen=True)
class RerankSettings:
    """What a search does with a reranker unless it is told otherwise.

    Attributes:
        order: "score", by the reranker's score alone, or "sum", by cosine + weight · score.
        weight: of the score in the sum; finite.
        candidates: how many of the towers' first images are scored.

    Raises:
        ServingError: a value that none of these can be.
    """

    order: str = SCORE
    weight: float = 1.0
    candidates: int = 32

    def __post_init__(self) -> None:
        if self.order not in ORDERS:
            raise ServingError(
                f"The order of reranked images is one of {', '.join(ORDERS)}. "
                f"Received: order={self.order!r}."
            )
        is_number = isinstance(self.weight, int | float) and not isinstance(self.weight, bool)
        if not is_number or not math.isfinite(self.weight):
            raise ServingError(
                "The weight of a reranker's score is a finite number. "
                f"Received: weight={self.weight!r}."
            )
        arguments.whole_number("candidates", self.candidates)

    @classmethod
    def of(cls, content: Mapping[str, Any] | None) -> RerankSettings:
        """Return the settings of a manifest; the defaults if it has none, or lacks some.

        Raises:
            ServingError: a value that cannot be.
        """
        known = {key: value for key, value in (content or {}).items() if key in _KEYS}
        return cls(**known)

    def to_json(self) -> dict[str, Any]:
        """Return what a manifest holds."""
        return asdict(self)


_KEYS = tuple(RerankSettings.__dataclass_fields__)


def are_settings(value: Any) -> bool:
    """Whether a manifest's value holds settings."""
    if not isinstance(value, dict):
        return False
    try:
        RerankSettings.of(value)
    except ServingError:
        return False
    return True
