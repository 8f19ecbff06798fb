"""The pipeline with its optional Tuner: the best trial's values are the release's."""

import json
import shutil

import pytest

from serving.release import Release
from tests.tfx_pipeline.conftest import vlsearch
from tfx_pipeline.config import ExperimentConfig

TUNE = (
    "tune.enabled=true",
    "tune.oracle=random",
    "tune.trials=2",
    "tune.steps=5",
    "tune.space={train.learning_rate: {float: [1.0e-4, 1.0e-2], scale: log},"
    " model.image.widths: {choice: [[8, 8], [8, 12]]}}",
    "train.steps=10",
)


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_the_trainer_gets_the_values_of_the_best_trial(tiny_run, tmp_path):
    output = tmp_path / "out"
    shutil.copytree(tiny_run.output, output)  # what comes before the Tuner is there already
    tuned = [part for setting in TUNE for part in ("--set", setting)]

    result = vlsearch(*tiny_run.command(output=output), *tuned)

    steps = [line.split("]")[1].split()[0] for line in result.stdout.splitlines() if "/12]" in line]
    assert steps[steps.index("Tuner") + 1] == "Trainer"
    [results] = (output / "pipeline" / "Tuner" / "tuner_results").glob("*/tuner_results.json")
    trials = json.loads(results.read_text(encoding="utf-8"))
    best = max(trials, key=lambda trial: trial["score"])
    assert len(trials) == 2
    version = Release.load(output / "serving").version
    tower = output / "serving" / "image_tower" / str(version)
    asset = (tower / "assets.extra" / "experiment.yaml").read_text(encoding="utf-8")
    trained = ExperimentConfig.from_yaml(f"{asset}\noutput: {output}")
    assert trained.train.learning_rate == best["train.learning_rate"]
    assert list(trained.model.image.widths) == json.loads(
        best["model.image.widths"].removeprefix("json:")
    )
    assert trained.train.steps == 10  # not a trial's
