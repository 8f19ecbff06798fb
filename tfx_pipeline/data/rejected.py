"""What was rejected: written by importers, read from any run."""

from __future__ import annotations

import collections
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from serving.files import write_atomically
from tfx_pipeline.data.contract import Rejected

FOLDER = "rejected"  # of a data folder


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


def write_rejected_rows(out: Path, read: int, rejected: list[Rejected]) -> None:
    """Write what an importer rejected, in the form that a click log's rejected rows have.

    Args:
        out: the data folder.
        read: all rows, the rejected ones included.
        rejected: the others were accepted.
    """
    folder = out / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    lines = "".join(f"{problem.to_json()}\n" for problem in sorted(rejected))
    write_atomically(folder / "rejected-00000-of-00001.jsonl", lines)
    lost = sum(problem.rows for problem in rejected)
    counts = {
        "rows": read,
        "log": {"read": read, "accepted": read - lost, "rejected": lost},
        "rejected": dict(_by_reason(rejected)),
    }
    write_atomically(folder / "summary.json", json.dumps(counts, indent=2, sort_keys=True) + "\n")


def explain_rejected(
    what: str, out: Path, read: int, rejected: list[Rejected], bound: float
) -> str:
    """Return why an importer gives up: how much it rejected, the commonest reasons, the remedy.

    Args:
        what: file and rows, as in `a.jsonl: {} captions`; gets the numbers.
        out: the data folder.
        read: all rows.
        rejected: too many of them.
        bound: the largest allowed share.
    """
    first = {str(problem.reason): problem for problem in sorted(rejected, reverse=True)}
    reasons = "; ".join(
        f"{reason}: {rows:,}, e.g. row {first[reason].row} ({first[reason].message})"
        for reason, rows in _by_reason(rejected).most_common(3)
    )
    lost = sum(problem.rows for problem in rejected)
    return (
        f"{what.format(f'{lost:,} of {read:,}')} ({lost / max(read, 1):.1%}) were rejected, more "
        f"than --max-rejected-fraction {bound:g} allows. {reasons}. All are listed in "
        f"{out / FOLDER}. Correct the file, or raise the bound if they may be lost."
    )


def _by_reason(rejected: Iterable[Rejected]) -> collections.Counter[str]:
    counts: collections.Counter[str] = collections.Counter()
    for problem in rejected:
        counts[str(problem.reason)] += problem.rows
    return counts
