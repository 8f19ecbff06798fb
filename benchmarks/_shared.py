"""What the benchmarks share: their arguments, the photographs, the table, the JSON file."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

_REPOSITORY = Path(__file__).resolve().parent.parent

# Python looks into a script's folder first: there, serving.py hides the package of that name.
_HERE = Path(__file__).resolve().parent
sys.path[:] = [folder for folder in sys.path if Path(folder or ".").resolve() != _HERE]
# Some run what the tests make, which is not installed.
sys.path.append(str(_REPOSITORY))

from serving.loopback import bypass_proxies  # noqa: E402

bypass_proxies()  # servers that are measured are on loopback


def argument_parser(description: str) -> argparse.ArgumentParser:
    """A parser with what every benchmark takes."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there")
    return parser


def add_photos_argument(parser: argparse.ArgumentParser) -> None:
    """``--photos``, for benchmarks on real photographs."""
    parser.add_argument("--photos", type=Path, metavar="DIR", help="folder with images/*.jpg")


def photo_files(given: Path | None) -> list[Path]:
    """The photographs: of ``--photos``, VLSEARCH_PHOTOS or a set beside the project; or none."""
    beside = _REPOSITORY.parent / "shared" / "data" / "flickr8k_1000"
    for folder in (given, os.environ.get("VLSEARCH_PHOTOS"), beside):
        files = sorted(Path(folder, "images").glob("*.jpg")) if folder else []
        if files:
            return files
    print("Skipped what needs photographs: --photos or VLSEARCH_PHOTOS names a folder.")
    return []


def alternate(calls: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Time of each call in every round, after one that warms up."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds + 1):
        for name, call in calls.items():
            started = time.perf_counter()
            call()
            if number:
                times[name].append(time.perf_counter() - started)
    return times


def ratio_of(one: list[float], other: list[float]) -> float:
    """Median over rounds of the ratio of two times."""
    return median(a / b for a, b in zip(one, other, strict=True))


class Results:
    """Measured values, some of them against a bar."""

    def __init__(self) -> None:
        self._rows: list[dict[str, Any]] = []

    def add(
        self, measure: str, value: str, bar: str = "", passed: bool | None = None, **numbers: Any
    ) -> None:
        """Add one row; ``numbers`` go to the JSON file, unrounded."""
        self._rows.append(
            {"measure": measure, "value": value, "bar": bar, "passed": passed, **numbers}
        )

    def finish(self, arguments: argparse.Namespace) -> None:
        """Print the table, write the file, and end the process: with 1 if a bar was missed."""
        from rich.table import Table

        from vl_models.terminal import console

        table = Table("measure", "value", "bar", "")
        verdicts = {None: "", True: "ok", False: "MISSED"}
        for row in self._rows:
            table.add_row(row["measure"], row["value"], row["bar"], verdicts[row["passed"]])
        console().print(table)
        if arguments.json is not None:
            arguments.json.write_text(json.dumps(self._rows, indent=2) + "\n", encoding="utf-8")
        sys.exit(any(row["passed"] is False for row in self._rows))
