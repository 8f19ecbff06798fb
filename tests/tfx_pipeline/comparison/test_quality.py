import numpy as np
import pytest

from tfx_pipeline.comparison.quality import ComparedValue, chosen_metrics, measure
from tfx_pipeline.evaluation.config import BootstrapConfig
from vl_models.metrics.bootstrap import percentile_interval, ratio_draws

BOOTSTRAP = BootstrapConfig(samples=400)


def test_the_interval_is_the_evaluation_s_own(contestant):
    values = [0, 1, 1, 0, 1, 0, 0, 1]
    [measured] = measure([contestant("a", values)], "recall@10", BOOTSTRAP)

    totals, counts = np.array(values, float)[:, None], np.ones((8, 1))
    expected = percentile_interval(ratio_draws(totals, counts, 400, 0)[:, 0])
    assert measured.value == 0.5
    assert measured.interval == expected
    assert (measured.difference, measured.verdict) == (None, "")


def test_a_difference_on_every_query_is_certain_though_both_intervals_overlap(contestant):
    # Every query is 0.1 better: paired, that is no matter of chance at all.
    base = [0.0, 0.9] * 10
    better = [value + 0.1 for value in base]

    first, second = measure(
        [contestant("a", base), contestant("b", better)], "recall@10", BOOTSTRAP
    )

    assert first.interval.high > second.interval.low
    assert second.difference == pytest.approx(0.1)
    assert second.difference_interval == pytest.approx((0.1, 0.1))
    assert second.verdict == "better"


def test_the_same_difference_the_other_way_is_worse_and_a_small_one_within(contestant):
    base = [0.5, 1.0] * 10
    worse = [value - 0.1 for value in base]
    noisy = [1.0, 0.5] * 9 + [1.0, 0.6]

    measured = measure(
        [contestant("a", base), contestant("b", worse), contestant("c", noisy)],
        "recall@10",
        BOOTSTRAP,
    )

    assert [one.verdict for one in measured] == ["", "worse", "within"]


def test_a_slice_is_resampled_within_itself(contestant):
    base, other = [0, 1, 0, 1], [1, 0, 1, 0]  # even queries are English

    _, second = measure(
        [contestant("a", base), contestant("b", other)], "language=en/recall@10", BOOTSTRAP
    )

    assert second.difference_interval == (1.0, 1.0)
    assert second.verdict == "better"


def test_seeds_are_averaged_per_query(contestant):
    seeds = contestant("a", [0, 1, 1, 1], [1, 1, 0, 0])
    [measured] = measure([seeds], "recall@10", BOOTSTRAP)
    [average] = measure([contestant("b", [0.5, 1, 0.5, 0.5])], "recall@10", BOOTSTRAP)

    assert measured.value == pytest.approx(0.625)
    assert measured.spread == pytest.approx(np.std([0.75, 0.5], ddof=1))
    assert measured.interval == pytest.approx(average.interval)


def test_what_is_no_mean_over_queries_has_no_verdict(contestant):
    both = [contestant("a", [0, 1]), contestant("b", [1, 1])]

    assert measure(both, "modality_gap", BOOTSTRAP) == [ComparedValue(value=0.5)] * 2
    [zero_shot, _] = measure(both, "zero_shot/accuracy@1", BOOTSTRAP)
    assert zero_shot == ComparedValue(value=0.2, interval=(0.1, 0.3))


def test_other_queries_are_not_compared(contestant):
    other = contestant("b", [1, 1], keys=["x", "y"])

    _, measured = measure([contestant("a", [0, 0]), other], "recall@10", BOOTSTRAP)

    assert measured == ComparedValue(value=1.0)


def test_a_failed_contestant_has_no_value_and_is_no_reference(contestant):
    failed = contestant("a", [1, 1], error="the loss became nan")

    measured = measure([failed, contestant("b", [0, 1])], "recall@10", BOOTSTRAP)

    assert measured[0] == ComparedValue()
    assert measured[1].value == 0.5
    assert measured[1].interval is not None
    assert measured[1].difference is None


def test_shown_are_the_usual_metrics_that_exist_and_those_asked_for(contestant):
    keys = chosen_metrics([contestant("a", [0, 1])], ["modality_gap", "recall@10"])

    assert keys == ["recall@10", "zero_shot/accuracy@1", "language=en/recall@10", "modality_gap"]
