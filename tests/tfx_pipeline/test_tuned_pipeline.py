"""The pipeline with its optional Tuner: the best trial's values are the release's."""

import json

import pytest

from serving.release import Release
from tests.tfx_pipeline.conftest import vlsearch
from tests.tfx_pipeline.tiny_experiment import write_tiny
from tfx_pipeline.config import ExperimentConfig

SPACE = """
tune:
  enabled: true
  oracle: random
  trials: 2
  steps: 5
  space:
    train.learning_rate: {float: [1.0e-4, 1.0e-2], scale: log}
    model.image.widths: {choice: [[8, 8], [8, 12]]}
"""


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_the_trainer_gets_the_values_of_the_best_trial(emoji_folder, tmp_path):
    config = write_tiny(tmp_path / "tiny.yaml", more=SPACE)
    output = tmp_path / "out"
    arguments = ["--config", str(config), "--data", str(emoji_folder), "--output", str(output)]

    result = vlsearch("run", *arguments, "--set", "train.steps=10")

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
