import itertools

import numpy as np
import pytest

from tfx_pipeline.evaluation.ordered_thresholds import OrderedThresholds


def test_separable_classes_are_told_apart_halfway():
    values = np.array([0.9, 0.1, 0.5, 0.2, 0.7])
    thresholds = OrderedThresholds(values, ["yes", "no", "maybe", "no", "yes"])
    assert thresholds.classes == ["no", "maybe", "yes"]
    np.testing.assert_allclose(thresholds.thresholds, [0.35, 0.6])
    assert thresholds.classify(np.array([-5.0, 0.34, 0.36, 0.6, 9.0])) == [
        "no",
        "no",
        "maybe",
        "yes",
        "yes",
    ]


def test_one_class_is_everywhere():
    assert OrderedThresholds(np.array([1.0, 2.0]), ["a", "a"]).classify(np.array([-9.0, 9.0])) == [
        "a",
        "a",
    ]


@pytest.mark.parametrize("seed", range(8))
def test_no_other_thresholds_are_right_more_often(seed):
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 6, 12) / 4  # with equal ones, which cannot be told apart
    names = [f"c{number}" for number in rng.integers(0, 3, 12)]
    found = OrderedThresholds(values, names)
    right = sum(a == b for a, b in zip(found.classify(values), names))

    def correct(bounds):
        given = np.searchsorted(bounds, values, "right")
        return sum(found.classes[place] == name for place, name in zip(given, names))

    edges = [-np.inf, *(np.unique(values) - 0.1), np.inf]
    bounds = itertools.combinations_with_replacement(edges, len(found.classes) - 1)
    assert right == max(map(correct, bounds))
