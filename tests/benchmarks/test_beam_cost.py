"""The short form of the account of bytes; the long form is the program's default."""

import json
import os
from pathlib import Path

import pytest

from tests import preloaded

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_it_accounts_for_every_step(tmp_path):
    numbers = tmp_path / "numbers.json"
    program = REPOSITORY / "benchmarks" / "beam_cost.py"
    arguments = ["--images=20", "--impressions=1000", f"--json={numbers}"]
    done = preloaded.run([str(program), *arguments], env=os.environ, cwd=REPOSITORY, timeout=600)
    assert done.returncode == 0, done.stderr
    rows = {row["measure"]: row for row in json.loads(numbers.read_text(encoding="utf-8"))}
    assert rows["images"]["short"] == rows["images"]["long"] == 20
    assert 8 < rows["impressions"]["long"] / rows["impressions"]["short"] < 12
    lines = [row for row in rows.values() if "billion" in row]
    assert len(lines) == 15
    assert all(row["short"] > 0 and row["long"] > 0 for row in lines)
    for row in lines:
        assert row["each"] * rows[row["grows_with"]]["long"] == pytest.approx(row["long"])
    # The same images whatever the log: its length is not in what is written of them.
    written = rows["writes gallery"]
    assert written["long"] == pytest.approx(written["short"], rel=0.01)  # it names its folder
    # Ten times the log, grouped by each reader: less than ten times the rows to shuffle.
    shuffled = rows["shuffles pairs, to shards of queries"]
    assert shuffled["long"] < 5 * shuffled["short"]
