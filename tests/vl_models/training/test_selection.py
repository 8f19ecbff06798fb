import keras
import pytest

from vl_models.errors import UserError
from vl_models.training.config import OptimizerConfig, PhaseConfig, TrainConfig
from vl_models.training.optimizers import build_groups
from vl_models.training.schedules import ScheduleConfig
from vl_models.training.selection import check_frozen, frozen_variables, phase_variables


@pytest.fixture
def variables():
    towers = [keras.layers.Dense(2, name=name) for name in ("image_tower", "text_tower")]
    for tower in towers:
        tower.build([None, 3])
    return [variable for tower in towers for variable in tower.weights]


def paths(variables):
    return [variable.path for variable in variables]


def test_frozen_are_exceptions_from_variables(variables):
    groups = build_groups("", [OptimizerConfig()], variables, ScheduleConfig())
    phase = PhaseConfig(variables=("image_tower/*",), frozen=("*/bias",))
    assert paths(phase_variables(phase, groups)) == ["image_tower/kernel"]
    assert paths(frozen_variables(phase, variables)) == ["image_tower/bias", "text_tower/bias"]


def test_a_phase_that_freezes_everything_is_an_error(variables):
    groups = build_groups("", [OptimizerConfig()], variables, ScheduleConfig())
    phase = PhaseConfig(name="p", variables=("image_tower/*",), frozen=("image_*",))
    message = r"Phase 'p' changes nothing: .*\['image_tower/\*'\] and not \['image_\*'\]"
    with pytest.raises(UserError, match=message):
        phase_variables(phase, groups)


@pytest.mark.parametrize(
    ("pattern", "nearest"),
    [
        ("imge_tower/*", "image_tower/kernel"),
        ("text_tower/bais", "text_tower/bias"),
        ("*/text_towers/*", "text_tower/kernel"),
    ],
)
def test_a_pattern_without_a_variable_names_the_nearest_path(variables, pattern, nearest):
    phase = PhaseConfig(name="p", frozen=("*/bias", pattern))
    with pytest.raises(UserError) as error:
        check_frozen(phase, variables)
    assert str(error.value) == (
        "Phase 'p': a pattern of `frozen` matches no variable. "
        f"Received: '{pattern}'; nearest path: '{nearest}'."
    )


def test_the_short_form_freezes_in_its_one_phase():
    (stage,) = TrainConfig(steps=1, frozen=("a/*",)).resolved_stages()
    assert [phase.frozen for phase in stage.phases] == [("a/*",)]
    with pytest.raises(ValueError, match="with stages, put frozen into their phases"):
        TrainConfig(stages=[{"steps": 1}], frozen=("a/*",))
