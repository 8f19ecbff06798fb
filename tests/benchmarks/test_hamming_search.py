"""The short form of the search among hash codes; the long form is the program's default."""

import json
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def test_it_measures_both_indexes(tmp_path):
    numbers = tmp_path / "numbers.json"
    program = REPOSITORY / "benchmarks" / "hamming_search.py"
    arguments = ["--items=2000", "--queries=5", f"--json={numbers}"]
    subprocess.run([sys.executable, str(program), *arguments], cwd=REPOSITORY, check=True)
    rows = json.loads(numbers.read_text(encoding="utf-8"))
    assert [row["milliseconds"] > 0 for row in rows[:2]] == [True, True]
    assert [row["bar"] for row in rows[:2]] == ["", ""]  # of a million codes alone
