"""The training history: one JSON object per logged step."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

# How the trainer names what it logs.
LOSS, VALIDATION, LEARNING_RATE = "loss/", "validation/", "learning_rate/"
_CODEBOOK = "codebook/"
_CURVES = (LOSS, VALIDATION, _CODEBOOK, LEARNING_RATE)


@dataclass(frozen=True)
class History:
    """Curves over steps.

    Attributes:
        curves: name → (steps, values); losses, validation and codebooks, then the learning rates.
        unreadable: number of lines that are no such object.
    """

    curves: dict[str, tuple[list[int], list[float]]] = field(default_factory=dict)
    unreadable: int = 0


def read_history(path: str | Path | None) -> History:
    """Read history.jsonl; a missing file is an empty history.

    A line that is cut off, as a killed trainer leaves it, is counted and passed over.
    """
    if path is None or not Path(path).is_file():
        return History()
    curves: dict[str, tuple[list[int], list[float]]] = defaultdict(lambda: ([], []))
    unreadable = 0
    with Path(path).open(encoding="utf-8", errors="replace") as lines:
        for line in filter(str.strip, lines):
            try:
                row = json.loads(line)
                step = int(row["step"])
                values = {key: float(row[key]) for key in row if key.startswith(_CURVES)}
            except (ValueError, KeyError, TypeError, AttributeError):
                unreadable += 1
                continue
            for key, value in values.items():
                steps, series = curves[key.removeprefix(LOSS)]
                steps.append(step)
                series.append(value)
    return History(
        dict(sorted(curves.items(), key=lambda item: item[0].startswith(LEARNING_RATE))),
        unreadable,
    )
