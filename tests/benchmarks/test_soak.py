"""The soak in its short form: all kinds of requests are answered as they should be."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_requests_of_all_kinds_and_a_curve(tmp_path):
    program = REPOSITORY / "benchmarks" / "soak.py"
    numbers, picture = tmp_path / "numbers.json", tmp_path / "curve.svg"
    process = subprocess.run(
        [sys.executable, program, "--minutes=0.2", f"--json={numbers}", f"--picture={picture}"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=300,
    )
    # 1: in seconds memory has not levelled off yet.
    assert process.returncode in (0, 1), process.stderr
    memory, page = json.loads(numbers.read_text())
    assert len(memory["samples"]) > 5
    assert all(megabytes > 100 for _, megabytes in memory["samples"])
    assert 0 < page["bytes"] < 100_000
    assert picture.read_text().startswith("<?xml")
    outcomes = Counter()
    for name, count in memory["requests"].items():
        kind, outcome = name.split()
        outcomes[kind, outcome] = count
    assert outcomes["good_grpc", "answered"] > 10
    assert outcomes["good_rest", "answered"] > 10
    assert {outcome for kind, outcome in outcomes if kind.startswith("good_")} == {"answered"}
    assert {kind for kind, outcome in outcomes if outcome == "INTERNAL"} <= {"no_message"}
    assert not {outcome for _, outcome in outcomes} & {"UNKNOWN", "UNAVAILABLE"}
