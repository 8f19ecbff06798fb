"""Our side of the training step's benchmark; open_clip's needs PyTorch, which is not installed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_it_trains_a_model_as_large_as_open_clips(tmp_path):
    numbers = tmp_path / "numbers.json"
    program = REPOSITORY / "benchmarks" / "train_step.py"
    arguments = ["--smoke", "--ours-only", "--precision", "fp32", "bf16", f"--json={numbers}"]
    subprocess.run([sys.executable, str(program), *arguments], cwd=REPOSITORY, check=True)
    rows = json.loads(numbers.read_text(encoding="utf-8"))
    assert [row["measure"] for row in rows] == ["vlsearch/fp32", "vlsearch/bf16"]
    assert [row["speed"] > 0 for row in rows] == [True, True]
    # As open_clip 3.3 counts its own model of this size.
    assert [row["parameters"] for row in rows] == [1_783_297] * 2
