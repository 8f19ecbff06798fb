"""The search service's benchmark in its short form."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.parametrize("what", [[], ["--items=500"], ["--releases=6"]])
def test_it_measures_and_counts(shop_root, tmp_path, what):
    numbers = tmp_path / "numbers.json"
    program = str(REPOSITORY / "benchmarks" / "gateway.py")
    options = [f"--release={shop_root}", "--rounds=5", "--seconds=0.5", f"--json={numbers}"]
    done = subprocess.run(
        [sys.executable, program, *options, *what],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=300,
    )
    rows = {row["measure"]: row for row in json.loads(numbers.read_text(encoding="utf-8"))}
    if what == ["--releases=6"]:
        [row] = rows.values()
        assert row["passed"] and done.returncode == 0, row
        return
    kinds = {"text", "filtered", "image"} if not what else {"text", "filtered"}
    assert {name.rpartition(", ")[2] for name in rows} == kinds, done.stderr
    assert all(row["per_second"] > 0 and row["p99"] >= row["p50"] for row in rows.values())
