"""`vlsearch tune`: real trials, killed and continued."""

import csv
import json
import time

import pytest

from tests import preloaded
from tests.tfx_pipeline.conftest import REPOSITORY, VLSEARCH, vlsearch
from tests.tfx_pipeline.tiny_experiment import write_tiny
from tfx_pipeline.config import ExperimentConfig

SPACE = """
tune:
  oracle: random
  trials: 2
  steps: 20
  space: {train.learning_rate: {float: [1.0e-4, 1.0e-2], scale: log}}
"""


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_killed_search_goes_on_and_writes_the_best_experiment(emoji_folder, tmp_path):
    config = write_tiny(tmp_path / "tiny.yaml", more=SPACE)
    output = tmp_path / "out"
    arguments = ["tune", "--config", str(config), "--data", str(emoji_folder)]
    arguments += ["--output", str(output)]
    process = preloaded.Process([VLSEARCH, *arguments], cwd=REPOSITORY)
    deadline = time.monotonic() + 600
    while not (output / "trials" / "1" / "run.log").is_file():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    process.kill()
    process.wait()
    first = output / "trials" / "0" / "result.json"
    before = first.stat().st_mtime_ns
    [row] = csv.DictReader((output / "trials.csv").open(encoding="utf-8"))
    assert row["trial"] == "0"

    finished = vlsearch(*arguments)

    assert first.stat().st_mtime_ns == before
    rows = list(csv.DictReader((output / "trials.csv").open(encoding="utf-8")))
    assert sorted(row["trial"] for row in rows) == ["0", "1"]
    for row in rows:
        folder = output / "trials" / row["trial"]
        result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
        assert float(row["recall@10"]) == result["metrics"]["recall@10"]
        assert row["train.learning_rate"][:4] in finished.stdout
        trial = ExperimentConfig.load(folder / "experiment.yaml")
        assert (trial.evaluate.splits, trial.train.steps) == (["val"], 20)
    best = max(rows, key=lambda row: float(row["recall@10"]))
    searched = ExperimentConfig.load(config, [f"data.folder={emoji_folder}"])
    rate = {"train.learning_rate": float(best["train.learning_rate"])}
    assert ExperimentConfig.load(output / "best.yaml") == searched.with_values(rate)

    other = vlsearch(*arguments, "--set", "tune.steps=30", check=False)
    assert other.returncode == 2
    assert "holds a search over other data or settings" in other.stderr


def test_an_experiment_without_a_search_says_how_one_looks(tmp_path):
    config = write_tiny(tmp_path / "tiny.yaml")

    result = vlsearch(
        "tune", "--config", str(config), "--data", "/nowhere", "--output", str(tmp_path / "out"),
        check=False,
    )  # fmt: skip

    assert result.returncode == 2
    assert "has no section `tune`" in result.stderr
    assert "scale: log" in result.stderr
