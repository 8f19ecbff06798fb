"""The short form of the fuzz run over image files; tests/tfx_pipeline/data has the fuzz test."""

import json
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def test_it_counts_what_became_of_the_files(tmp_path):
    numbers = tmp_path / "numbers.json"
    program = REPOSITORY / "benchmarks" / "fuzz_images.py"
    arguments = ["--first=1", "--count=6", f"--json={numbers}"]  # none for the graph
    subprocess.run([sys.executable, str(program), *arguments], cwd=REPOSITORY, check=True)
    [files, graph] = json.loads(numbers.read_text(encoding="utf-8"))
    assert sum(files["images"].values()) + sum(files["rejected"].values()) == 6
    assert (files["failures"], files["passed"]) == ([], True)
    assert (graph["decoded"], graph["refused"]) == (0, 0)
