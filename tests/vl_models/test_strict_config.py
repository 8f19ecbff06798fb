from typing import Literal

import pydantic
import pytest

from vl_models.strict_config import StrictConfig, explain_validation_error


class Optimizer(StrictConfig):
    kind: Literal["adamw", "sgd"] = "adamw"
    learning_rate: float


class Experiment(StrictConfig):
    seed: int = 0
    groups: dict[str, Optimizer] | None = None
    phases: list[Optimizer] | None = None
    optimizer: Optimizer


def explain(values):
    with pytest.raises(pydantic.ValidationError) as error:
        Experiment.model_validate(values)
    return explain_validation_error(error.value, "experiment.yaml", Experiment)


VALID = {"learning_rate": 0.1}


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (
            {"optimizer": VALID, "sed": 1},
            "Unknown key 'sed'; did you mean 'seed'? "
            "Valid keys here: groups, optimizer, phases, seed.",
        ),
        (
            {"optimizer": {**VALID, "learning_rat": 1}},
            "Unknown key 'optimizer.learning_rat'; did you mean 'optimizer.learning_rate'? "
            "Valid keys here: kind, learning_rate.",
        ),
        (
            {"optimizer": VALID, "groups": {"head": {**VALID, "knd": 1}}},
            "Unknown key 'groups.head.knd'; did you mean 'groups.head.kind'?",
        ),
        (
            {"optimizer": VALID, "phases": [VALID, {**VALID, "lr": 1}]},
            "Unknown key 'phases.1.lr'; did you mean 'phases.1.learning_rate'?",
        ),
        ({}, "Key 'optimizer' is missing; it is required."),
        (
            {"optimizer": {"kind": "adam", "learning_rate": 1}},
            "Key 'optimizer.kind' has a wrong value. Received: 'adam'. Allowed: 'adamw' or 'sgd'.",
        ),
        (
            {"optimizer": VALID, "seed": "x"},
            "Key 'seed' has a wrong value. Received: 'x'. Allowed: a valid integer",
        ),
    ],
)
def test_sentences(values, sentence):
    paragraph = explain(values)
    assert paragraph.startswith("experiment.yaml: ")
    assert sentence in paragraph


def test_all_errors_are_told_at_once():
    paragraph = explain({"optimizer": {}, "sed": 1})
    assert "'optimizer.learning_rate' is missing" in paragraph and "'sed'" in paragraph


def test_configurations_cannot_be_changed():
    config = Experiment(optimizer=Optimizer(learning_rate=1.0))
    with pytest.raises(pydantic.ValidationError):
        config.seed = 3


def test_a_renamed_key_is_answered_with_its_new_name():
    class Tower(StrictConfig):
        hidden_widths: tuple[int, ...] = ()

    class Model(StrictConfig):
        image: Tower = Tower()

    with pytest.raises(pydantic.ValidationError) as error:
        Model.model_validate({"image": {"hidden": [8]}})
    text = explain_validation_error(error.value, "experiment.yaml", Model)
    assert text == "experiment.yaml: Key 'image.hidden' is now called 'image.hidden_widths'."
