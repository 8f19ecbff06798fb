"""The training of fusion encoders in its short form; PyTorch's side is not installed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
WIDTH = 32  # of the tiny models


@pytest.mark.slow
def test_a_step_its_share_of_masks_and_negatives_and_its_memory(tmp_path):
    numbers = tmp_path / "numbers.json"
    program = REPOSITORY / "benchmarks" / "fusion.py"
    arguments = [
        "step",
        "systems",
        "share",
        "memory",
        "--smoke",
        "--ours-only",
        f"--json={numbers}",
    ]
    process = subprocess.run(
        [sys.executable, str(program), *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=300,
    )
    # 1: so small a step consists of little but what its share is measured of.
    assert process.returncode in (0, 1), process.stderr[-4000:]
    rows = json.loads(numbers.read_text(encoding="utf-8"))
    steps, systems, (share, memory) = rows[:4], rows[4:7], rows[7:]

    assert [row["measure"] for row in steps] == [
        "step of ViLT, fp32",
        "step of ViLT, fp32, jit_compile",
        "a block, fp32",
        "a block, fp32, jit_compile",
    ]
    assert all(row["milliseconds"]["vlsearch"] > 0 and row["passed"] is None for row in steps)
    # Query, key, value and output, two layers four times as wide, biases, and two norms.
    block = 12 * WIDTH**2 + 13 * WIDTH
    assert [row["parameters"] for row in steps[2:]] == [block, block]
    assert all(row["parameters"] > 2 * block for row in steps[:2])

    clip, coca, beside = systems
    assert coca["parameters"] > clip["parameters"] > 0
    assert beside["products"]["coca"] > beside["products"]["clip"] > 0
    ratio = coca["seconds"][0] / clip["seconds"][0]
    expected = beside["products"]["coca"] / beside["products"]["clip"]
    assert f"{ratio / expected:.2f} x" in beside["value"]

    assert share["seconds"].keys() == {"step", "negatives", "masks", "transport"}
    assert all(time > 0 for [time] in share["seconds"].values())
    parts = sum(time for name, [time] in share["seconds"].items() if name != "step")
    assert share["shares"] == pytest.approx([parts / share["seconds"]["step"][0]])

    assert memory["clip"] > 0
