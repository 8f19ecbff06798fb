"""One input by the benchmark; tests/reported_inputs has them all."""

import json
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def test_it_compares_the_outcome_with_what_it_has_to_be(tmp_path):
    numbers = tmp_path / "numbers.json"
    program = REPOSITORY / "benchmarks" / "reported_inputs.py"
    command = [sys.executable, str(program), "--only", "caption-null", f"--json={numbers}"]
    subprocess.run(command, cwd=REPOSITORY, check=True)
    [row] = json.loads(numbers.read_text(encoding="utf-8"))
    assert row["value"] == "exit 2: 8 accepted, 8 missing_query, refused in words"
    assert (row["bar"], row["passed"]) == (row["value"], True)
