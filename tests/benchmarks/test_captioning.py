"""The benchmark of captions in its short form."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_ratios_are_of_sides_that_answered_in_turns(tmp_path):
    numbers = tmp_path / "numbers.json"
    process = subprocess.run(
        [sys.executable, "benchmarks/captioning.py", "--smoke", f"--json={numbers}"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=300,
    )
    # 1: so small a model is mostly calls.
    assert process.returncode in (0, 1), process.stderr[-4000:]
    rows = json.loads(numbers.read_text(encoding="utf-8"))
    assert [set(row["seconds"]) for row in rows] == [
        {"cache", "none"},
        {"cache", "none"},
        {"at once", "one by one"},
    ]
    for row in rows:
        [fast], [slow] = row["seconds"].values()
        assert f"{slow / fast:.1f} x" in row["value"]
