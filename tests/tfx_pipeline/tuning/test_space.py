import pytest

from tests.tfx_pipeline.tiny_experiment import write_tiny
from tfx_pipeline.config import ExperimentConfig
from tfx_pipeline.tuning.config import Dimension
from tfx_pipeline.tuning.space import (
    check_pipeline_space,
    from_values,
    to_hyperparameters,
)
from vl_models.errors import UserError


def only(dimension):
    [parameter] = to_hyperparameters({"key": Dimension.model_validate(dimension)}).space
    return parameter


def test_ranges_keep_their_ends_and_scale():
    parameter = only({"float": [1e-4, 1e-2], "scale": "log"})

    assert (parameter.min_value, parameter.max_value) == (1e-4, 1e-2)
    # Even in the logarithm: the middle of the probabilities is the geometric mean.
    assert parameter.prob_to_value(0.5) == pytest.approx(1e-3)
    assert only({"float": [0, 4]}).prob_to_value(0.5) == pytest.approx(2)


def test_both_ends_of_an_int_range_occur():
    assert list(only({"int": [1, 3]}).values) == [1, 2, 3]
    assert list(only({"int": [2, 8], "step": 3}).values) == [2, 5, 8]
    assert only({"int": [1, 64], "scale": "log"}).prob_to_value(0.999) == 64


@pytest.mark.parametrize(
    "choice", [[64, 128], ["adamw", "sgd"], [[8, 16], [8, 8]], [None, 0.5], [1, "auto"]]
)
def test_choices_of_any_kind_come_back_as_they_were(choice):
    parameter = only({"choice": choice})

    values = [from_values({"key": value})["key"] for value in parameter.values]
    assert values == choice
    assert [type(value) for value in values] == [type(value) for value in choice]


def test_what_an_oracle_notes_for_itself_is_no_key():
    assert from_values({"train.steps": 3, "tuner/epochs": 9}) == {"train.steps": 3}


def test_values_are_set_in_a_complete_experiment(tmp_path):
    more = "tune: {space: {train.steps: {int: [1, 2]}}}"
    overrides = ["train.optimizers=[{name: a}, {name: b}]"]
    config = ExperimentConfig.load(write_tiny(tmp_path / "tiny.yaml", more=more), overrides)

    changed = config.with_values(
        {"train.optimizers.1.learning_rate": 0.25, "model.image.widths": [8, 24]}
    )

    assert changed.tune is None
    assert changed.train.optimizers[1].learning_rate == 0.25
    assert list(changed.model.image.widths) == [8, 24]
    untouched = config.with_values({})
    assert changed.train.optimizers[0] == untouched.train.optimizers[0]
    assert untouched == config.model_copy(update={"tune": None})


@pytest.mark.parametrize("key", ["vocabulary.size", "model.max_length"])
def test_the_pipeline_cannot_search_over_what_is_settled_before(key):
    with pytest.raises(UserError, match=f"settled before the Tuner runs.*Received: '{key}'"):
        check_pipeline_space({key: Dimension(int=(8, 16))})
