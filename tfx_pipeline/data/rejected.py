"""Reading what a run rejected."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def describe(folder: str | Path) -> str:
    """One line about what was rejected, and where it is kept; "" if nothing could be or was."""
    if not (Path(folder) / "summary.json").is_file():  # features are taken whole or not at all
        return ""
    counts = {reason: rows for reason, rows in count_reasons(folder).items() if rows}
    if not counts:
        return ""
    read = read_summary(folder)["rows"]
    reasons = ", ".join(f"{reason} {rows:,}" for reason, rows in counts.items())
    return (
        f"Rejected rows: {sum(counts.values()):,} of {read:,} ({reasons}); each with its reason "
        f"in {folder}"
    )


def count_reasons(folder: str | Path) -> dict[str, int]:
    """Rejected rows by reason, the commonest first, from a rejected output's summary.json."""
    rejected = read_summary(folder)["rejected"]
    return dict(sorted(rejected.items(), key=lambda item: (-item[1], item[0])))


def read_summary(folder: str | Path) -> dict[str, Any]:
    """Count of the run that made a rejected output, from its summary.json."""
    return json.loads((Path(folder) / "summary.json").read_text(encoding="utf-8"))
