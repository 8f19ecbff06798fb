import numpy as np
import pydantic
import pytest

from vl_models.layers.reversal_schedule import ReversalSchedule


def strengths(schedule, seen, training=1000):
    return [float(schedule.strength(n, training)) for n in seen]


def test_golden_values_of_dann(golden):
    for progress, strength in golden["grl_schedule"].items():
        seen = round(1000 * float(progress))
        assert strengths(ReversalSchedule(), [seen]) == pytest.approx([strength], abs=1e-6)


def test_dgrl_depends_on_the_instances_seen_and_not_on_the_length_of_the_training():
    schedule = ReversalSchedule(kind="dgrl", instances=1000)
    for training in (1000, 10**9):
        assert strengths(schedule, [0, 100], training) == pytest.approx([0, 0.46211716], abs=1e-6)
    assert strengths(schedule, [10**6]) == [1.0]
    short, long = (strengths(ReversalSchedule(), [100], n)[0] for n in (1000, 10**6))
    assert short == pytest.approx(0.46211716) and long < 0.001


def test_warmup_is_linear_and_then_flat():
    schedule = ReversalSchedule(kind="warmup", instances=200, maximum=0.5)
    np.testing.assert_allclose(strengths(schedule, [0, 50, 200, 900]), [0, 0.125, 0.5, 0.5])


def test_constant_is_constant_even_before_anything_is_known():
    assert (
        strengths(ReversalSchedule(kind="constant", maximum=0.3), [0, 7], 0)
        == [pytest.approx(0.3)] * 2
    )


def test_all_are_zero_at_the_start_and_bounded_by_their_maximum():
    for kind in ("dann", "dgrl", "warmup"):
        scale = None if kind == "dann" else 500
        schedule = ReversalSchedule(kind=kind, instances=scale, maximum=2.0)
        values = strengths(schedule, range(0, 5000, 250))
        assert values[0] == 0.0 and values == sorted(values) and values[-1] <= 2.0


@pytest.mark.parametrize("values", [{"kind": "dgrl"}, {"kind": "warmup"}, {"instances": 5}])
def test_the_scale_is_asked_for_where_it_counts_and_refused_elsewhere(values):
    with pytest.raises(pydantic.ValidationError, match=r"needs instances|takes no instances"):
        ReversalSchedule.model_validate(values)
