"""The bytes between workers, against what the configuration's shapes say."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_what_two_workers_send_each_other_in_a_step(tmp_path):
    numbers = tmp_path / "numbers.json"
    program = REPOSITORY / "benchmarks" / "gather_bytes.py"
    process = subprocess.run(
        [sys.executable, str(program), f"--json={numbers}"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert process.returncode == 0, process.stderr[-4000:]
    gather, reduce, parameters, total = json.loads(numbers.read_text(encoding="utf-8"))

    rows, texts, width, clicked = 64, 5 * 64, 128, 24
    embeddings = (rows + texts) * width * 4
    # Image, clicked queries with their weights, row; query.
    keys = rows * (8 + (8 + 4) * clicked + 4) + texts * 8
    assert embeddings + keys <= gather["bytes_in"] <= embeddings + keys + 100  # and some counts
    assert reduce["bytes_in"] == 4 * parameters["parameters"] + 2 * embeddings + 4  # the stop flag
    assert total["total"] == gather["bytes_in"] + reduce["bytes_in"]
