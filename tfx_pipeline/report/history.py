"""The training history: one JSON object per logged step."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class History:
    """Curves over steps.

    Attributes:
      curves: name → (steps, values); the losses, then "learning_rate".
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
    losses: dict[str, tuple[list[int], list[float]]] = defaultdict(lambda: ([], []))
    rates: tuple[list[int], list[float]] = ([], [])
    unreadable = 0
    with Path(path).open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            try:
                row = json.loads(line)
                step = int(row["step"])
                values = {name: float(value) for name, value in row.get("losses", {}).items()}
                rate = float(row["learning_rate"]) if "learning_rate" in row else None
            except (ValueError, KeyError, TypeError, AttributeError):
                unreadable += bool(line.strip())
                continue
            for name, value in values.items():
                losses[name][0].append(step)
                losses[name][1].append(value)
            if rate is not None:
                rates[0].append(step)
                rates[1].append(rate)
    curves = dict(losses)
    if rates[0]:
        curves["learning_rate"] = rates
    return History(curves, unreadable)
