import math

import pytest

from vl_models.training.schedules import ScheduleConfig, learning_rate_factor


def factors(total, **settings):
    return [learning_rate_factor(ScheduleConfig(**settings), step, total) for step in range(total)]


def test_warmup_then_cosine_in_closed_form():
    expected = [0.25, 0.5, 0.75, 1.0]
    expected += [0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * k / 8)) for k in range(8)]
    assert factors(12, warmup_steps=4, final_fraction=0.1) == pytest.approx(expected)


def test_warmup_then_linear_in_closed_form():
    expected = [0.5, 1.0, 1.0, 0.75, 0.5, 0.25]
    assert factors(6, warmup_steps=2, decay="linear") == pytest.approx(expected)


def test_constant_stays_at_the_peak():
    assert factors(5, warmup_steps=2, decay="constant") == [0.5, 1.0, 1.0, 1.0, 1.0]


def test_after_the_last_step_it_stays_at_the_final_fraction():
    schedule = ScheduleConfig(final_fraction=0.2)
    assert learning_rate_factor(schedule, 50, 10) == pytest.approx(0.2)


def test_warmup_longer_than_the_stage_only_rises():
    assert factors(3, warmup_steps=10) == pytest.approx([0.1, 0.2, 0.3])


def test_steps_drop_at_their_shares_and_a_warm_up_may_begin_above_zero():
    rates = factors(10, decay="steps", drops=[0.5, 0.8], drop_factor=0.1)
    assert rates == pytest.approx([1.0] * 5 + [0.1] * 3 + [0.01] * 2)
    rising = factors(10, decay="constant", warmup_steps=3, warmup_fraction=1 / 3)
    assert rising[:4] == pytest.approx([5 / 9, 7 / 9, 1.0, 1.0])
    for wrong in ({"decay": "steps"}, {"drops": [0.5]}, {"decay": "steps", "drops": [0.8, 0.5]}):
        with pytest.raises(ValueError, match="drops"):
            ScheduleConfig(**wrong)
