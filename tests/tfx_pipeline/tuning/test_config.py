import pytest

from tests.tfx_pipeline.tiny_experiment import write_tiny
from tfx_pipeline.config import ExperimentConfig
from vl_models.errors import UserError


def load(tmp_path, space, more=""):
    section = f"tune: {{space: {{{space}}}{more}}}"
    return ExperimentConfig.load(write_tiny(tmp_path / "tiny.yaml", more=section))


def test_a_search_over_the_experiment_s_own_keys(tmp_path):
    config = load(
        tmp_path,
        "train.learning_rate: {float: [1.0e-4, 1.0e-2], scale: log}, "
        "model.embedding_dim: {choice: [32, 64]}, model.text.depth: {int: [1, 3]}",
    )

    assert config.tune.space["train.learning_rate"].range == (1e-4, 1e-2)
    assert config.tune.split == "val"
    assert not config.tune.enabled
    assert ExperimentConfig.from_yaml(config.to_yaml()) == config


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ("train.learning_rat: {float: [0.1, 0.2]}", "did you mean 'train.learning_rate'"),
        ("model.embeding_dim: {choice: [1, 2]}", "did you mean 'embedding_dim'"),
        ("model.text.depht: {int: [1, 2]}", "did you mean 'text.depth'"),
        ("train.optimizers.3.learning_rate: {float: [0.1, 0.2]}", "there is a list of 0"),
        ("evaluate.ks: {choice: [[1], [2]]}", "a search changes keys under model, input, train"),
        ("data.quality: {int: [1, 2]}", "a search changes keys under model, input, train"),
        ("train.learning_rate: {float: [-1.0, 0.2]}", "'train.learning_rate' has a wrong value"),
        ("train.warmup_steps: {float: [0.5, 2.5]}", "'train.warmup_steps' has a wrong value"),
        ("train.learning_rate: {float: [0.2, 0.1]}", "from the lower to the higher end"),
        ("train.learning_rate: {float: [0, 1], scale: log}", "needs a lower end above 0"),
        ("train.steps: {int: [1, 9], step: 0.5}", "int needs a whole step, not 0.5"),
        ("train.steps: {choice: [1]}", "at least 2 items"),
        ("train.steps: {choice: [1, 1]}", "a choice names each value once"),
        ("train.steps: {choice: [1, 2], scale: log}", "belong to float and int, not to choice"),
        ("train.steps: {int: [1, 2], choice: [1, 2]}", "give one of float: [low, high]"),
        ("train.steps: {}", "give one of float: [low, high]"),
    ],
)
def test_a_space_that_cannot_be_searched_is_refused(tmp_path, space, message):
    with pytest.raises(UserError) as error:
        load(tmp_path, space)
    assert message in str(error.value)


def test_values_that_only_others_could_make_valid_are_left_to_the_trials(tmp_path):
    config = load(tmp_path, "model.text.heads: {choice: [2, 3]}")  # 3 does not divide 32

    assert config.tune.space["model.text.heads"].choice == [2, 3]


def test_the_test_split_is_not_searched_on(tmp_path):
    with pytest.raises(UserError, match=r"'tune\.split' has a wrong value\. Received: 'test'"):
        load(tmp_path, "train.steps: {int: [1, 2]}", ", split: test")


def test_hyperband_counts_its_own_trials(tmp_path):
    with pytest.raises(UserError, match="hyperband makes as many trials as its brackets need"):
        load(tmp_path, "train.steps: {int: [1, 2]}", ", oracle: hyperband, trials: 3")
