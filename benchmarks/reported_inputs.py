"""Inputs that people reported as misread, each by the command that a user would type.

    python benchmarks/reported_inputs.py

Each is written to a temporary folder. What it has to end with: its exit status, the counts of what
was accepted and rejected, the words of the refusal if it is refused, and never a traceback.
`--only` takes names; tests/reported_inputs holds what is in each, and checks contents, too.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _shared import Results, argument_parser

from tests.reported_inputs.case import Case
from tests.reported_inputs.table import CASES
from tests.tfx_pipeline.tiny_experiment import write_tiny

VLSEARCH = str(Path(sys.executable).with_name("vlsearch"))
TWO_TRAININGS = "two-trainings"
FEW_STEPS = ["--set", "train.steps=3", "--set", "train.warmup_steps=1"]


def main() -> None:
    parser = argument_parser(__doc__)
    names = [*CASES, TWO_TRAININGS]
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME")
    arguments = parser.parse_args()
    results = Results()
    for name in arguments.only:
        with tempfile.TemporaryDirectory() as folder:
            started = time.monotonic()
            if name == TWO_TRAININGS:
                found, expected = train_twice(Path(folder))
            else:
                found, expected = run(CASES[name], Path(folder))
            seconds = time.monotonic() - started
        results.add(name, found, expected, found == expected, seconds=seconds)
        print(f"{name}: {found}", flush=True)
    results.finish(arguments)


def run(case: Case, folder: Path) -> tuple[str, str]:
    """What came of an input, and what had to."""
    data, out = case.make(folder), folder / "out"
    command = case.command(data, out, write_tiny(folder / "tiny.yaml"))
    process = start([*command, *([] if case.captions else FEW_STEPS)], folder)
    printed = process.communicate()[0]
    error = case.expected_error(data, out)
    told = error if f"Error: {error}\n" in printed else ""
    file = case.rejected_folder(out) / "summary.json"
    if file.exists():
        summary = json.loads(file.read_text("utf-8"))
        accepted = summary["log"]["accepted"]
        found = describe(process.returncode, accepted, summary["rejected"], told)
    else:
        found = f"exit {process.returncode}: nothing counted"
    if "Traceback" in printed:
        found += ", a traceback"
    return found, describe(2 if error else 0, case.accepted, dict(case.rejected), error)


def describe(status: int, accepted: int, rejected: dict[str, int], error: str) -> str:
    """The outcome in words."""
    reasons = "".join(f", {rows} {reason}" for reason, rows in sorted(rejected.items()))
    return f"exit {status}: {accepted} accepted{reasons}{', refused in words' if error else ''}"


def train_twice(folder: Path) -> tuple[str, str]:
    """Two trainings into one run folder: what came of them, and what had to."""
    case = CASES["brackets-in-path"]
    command = case.command(case.make(folder), folder / "out", write_tiny(folder / "tiny.yaml"))
    processes = [start([*command, *FEW_STEPS], folder) for _ in range(2)]
    printed = {process.pid: process.communicate()[0] for process in processes}
    first, second = sorted(processes, key=lambda process: process.returncode)
    told = f"{folder / 'out'} is in use by process {first.pid} on " in printed[second.pid]
    found = f"exit {first.returncode} and {second.returncode}{', told why' if told else ''}"
    if any("Traceback" in text for text in printed.values()):
        found += ", a traceback"
    return found, "exit 0 and 1, told why"


def start(arguments: list[str], folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [VLSEARCH, *arguments],
        cwd=folder,
        env={**os.environ, "NO_COLOR": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


if __name__ == "__main__":
    main()
