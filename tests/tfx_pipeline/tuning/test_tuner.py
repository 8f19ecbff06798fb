import os
import signal

import pytest

from tests import preloaded
from tests.tfx_pipeline.conftest import REPOSITORY
from tests.tfx_pipeline.tiny_experiment import write_tiny
from tfx_pipeline.config import ExperimentConfig
from tfx_pipeline.trials.process import TrialFailed
from tfx_pipeline.tuning.tuner import ExperimentTuner
from vl_models.errors import UserError

PROGRAM = REPOSITORY / "tests" / "tfx_pipeline" / "tuning" / "search_process.py"


def section(oracle="random", trials=4, more=""):
    count = f"trials: {trials}, " if trials else ""
    space = "{train.learning_rate: {float: [0.1, 1.0]}}"
    return f"tune: {{oracle: {oracle}, {count}{more}space: {space}}}"


def tuner_of(tmp_path, run, **options):
    config = ExperimentConfig.load(write_tiny(tmp_path / "tiny.yaml", more=section(**options)))
    return ExperimentTuner(config, tmp_path / "search", run)


def distance(config, trial_id):
    return {"recall@10": -abs(config.train.learning_rate - 0.5)}


@pytest.mark.parametrize("oracle", ["bayesian", "random", "grid"])
def test_the_best_trial_has_the_best_objective(oracle, tmp_path):
    tuner = tuner_of(tmp_path, distance, oracle=oracle, trials=6)

    tuner.search()

    trials = tuner.oracle.trials.values()
    rates = [trial.hyperparameters.values["train.learning_rate"] for trial in trials]
    assert len(set(rates)) == 6
    assert all(0.1 <= rate <= 1.0 for rate in rates)
    best = tuner.get_best_hyperparameters()[0].values["train.learning_rate"]
    assert best == min(rates, key=lambda rate: abs(rate - 0.5))


def test_the_direction_turns_the_order(tmp_path):
    tuner = tuner_of(tmp_path, distance, more="direction: min, ")

    tuner.search()

    rates = [t.hyperparameters.values["train.learning_rate"] for t in tuner.oracle.trials.values()]
    best = tuner.get_best_hyperparameters()[0].values["train.learning_rate"]
    assert best == max(rates, key=lambda rate: abs(rate - 0.5))


def test_hyperband_gives_a_ninth_a_third_and_all_of_the_steps(tmp_path):
    steps = []

    def run(config, trial_id):
        steps.append((config.train.steps, config.train.warmup_steps))
        return distance(config, trial_id)

    tuner_of(tmp_path, run, oracle="hyperband", trials=0, more="steps: 90, ").search()

    # A warm-up of 4 in 40 steps; in ten, 30 %.
    assert set(steps) == {(10, 3), (30, 4), (90, 9)}
    counts = [sum(one == part for one, _ in steps) for part in (10, 30, 90)]
    assert counts[0] > counts[1] and counts[0] > counts[2] > 0


def test_a_trial_is_measured_on_val_with_its_steps(tmp_path):
    tuner = tuner_of(tmp_path, distance, more="steps: 10, ")

    config = tuner.trial_config({"train.learning_rate": 0.25})

    assert config.evaluate.splits == ["val"]
    assert (config.train.learning_rate, config.train.steps, config.train.warmup_steps) == (
        0.25,
        10,
        3,
    )
    assert config.tune is None


def test_a_search_killed_in_a_trial_repeats_that_one_and_none_before(tmp_path):
    config = write_tiny(tmp_path / "tiny.yaml", more=section(oracle="bayesian"))

    def search(kill_at):
        command = [str(PROGRAM), str(tmp_path), str(config), kill_at]
        return preloaded.run(command, env=os.environ, cwd=REPOSITORY, timeout=200)

    assert search("2").returncode == -signal.SIGKILL
    again = search("none")

    assert again.returncode == 0, again.stderr
    ran = [line.split() for line in (tmp_path / "ran.txt").read_text("utf-8").splitlines()]
    assert [trial_id for trial_id, _ in ran] == ["0", "1", "2", "2", "3"]
    assert ran[2] == ran[3]  # with the same values


def test_a_trial_that_fails_is_passed_over(tmp_path):
    def run(config, trial_id):
        if trial_id == "1":
            raise TrialFailed("Loss 'contrastive' became nan at step 3.")
        return distance(config, trial_id)

    tuner = tuner_of(tmp_path, run)
    tuner.search()

    assert [trial.status for trial in tuner.oracle.trials.values()] == [
        "COMPLETED",
        "FAILED",
        "COMPLETED",
        "COMPLETED",
    ]
    assert tuner.oracle.get_best_trials(4)[-1].trial_id == "1"


def test_three_failures_in_a_row_end_the_search_with_the_reason(tmp_path):
    def run(config, trial_id):
        raise TrialFailed(f"no luck with {trial_id}")

    with pytest.raises(UserError, match=r"Three trials in a row failed.*no luck with 2$"):
        tuner_of(tmp_path, run).search()


def test_an_objective_that_is_no_metric_ends_the_search_and_names_the_nearest(tmp_path):
    tuner = tuner_of(tmp_path, distance, more="objective: recal@10, ")

    with pytest.raises(UserError, match=r"no metric 'recal@10'; the nearest is 'recall@10'"):
        tuner.search()
