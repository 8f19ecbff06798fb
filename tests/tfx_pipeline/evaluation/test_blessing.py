import math

import pytest

from tfx_pipeline.evaluation.blessing import bless
from tfx_pipeline.evaluation.config import EvaluationConfig
from vl_models.errors import UserError

METRICS = {"recall@10": 0.412, "median_rank": 12.0, "modality_gap": 0.8, "auc": math.nan}


def decide(thresholds, baseline=None):
    return bless(METRICS, EvaluationConfig(thresholds=thresholds), baseline)


def test_below_the_minimum():
    blessing = decide({"recall@10": {"min": 0.5}}, baseline={})
    assert not blessing.blessed
    assert blessing.reasons == ("recall@10 is 0.4120, below the minimum of 0.5000.",)


def test_above_the_maximum():
    blessing = decide({"median_rank": {"max": 10}}, baseline={})
    assert blessing.reasons == ("median_rank is 12.0000, above the maximum of 10.0000.",)


@pytest.mark.parametrize(
    ("key", "before", "allowed", "blessed", "message"),
    [
        (
            "recall@10",
            0.462,
            0.01,
            False,
            "recall@10 fell by 0.0500 against the current release (0.4620 to 0.4120); "
            "a drop of 0.0100 is allowed.",
        ),
        (
            "recall@10",
            0.422,  # exactly the allowed drop
            0.01,
            True,
            "recall@10 fell by 0.0100 against the current release (0.4220 to 0.4120); "
            "a drop of 0.0100 is allowed.",
        ),
        (
            "recall@10",
            0.3,
            0.0,
            True,
            "recall@10 rose by 0.1120 against the current release (0.3000 to 0.4120); "
            "a drop of 0.0000 is allowed.",
        ),
        (
            "median_rank",
            9.0,
            2.0,
            False,
            "median_rank rose by 3.0000 against the current release (9.0000 to 12.0000); "
            "a rise of 2.0000 is allowed.",
        ),
        (
            "recall@10",
            0.412,
            0.0,
            True,
            "recall@10 is unchanged against the current release (0.4120 to 0.4120); "
            "a drop of 0.0000 is allowed.",
        ),
        (
            "recall@10",
            None,
            0.0,
            True,
            "recall@10 was not compared: the current release has no value for it.",
        ),
    ],
)
def test_against_the_current_release(key, before, allowed, blessed, message):
    blessing = decide({key: {"max_drop_vs_baseline": allowed}}, baseline={key: before})
    assert blessing.blessed is blessed
    assert [check.message for check in blessing.checks] == [message]


def test_first_release_is_held_to_the_absolute_thresholds_only():
    thresholds = {"recall@10": {"min": 0.4, "max_drop_vs_baseline": 0.0}}
    blessing = decide(thresholds)
    assert blessing.blessed
    assert blessing.reasons == (
        "The check passed.",
        "There is no current release: only absolute thresholds were checked.",
    )


def test_undefined_metric_fails():
    blessing = decide({"auc": {"min": 0.0}}, baseline={})
    assert not blessing.blessed
    assert blessing.reasons == ("auc is not defined on this data.",)


def test_no_thresholds():
    blessing = decide({}, baseline={})
    assert blessing.blessed
    assert blessing.reasons == ("Nothing was checked: no threshold applies.",)


def test_every_failure_is_told():
    blessing = decide({"recall@10": {"min": 0.5}, "median_rank": {"max": 10}}, baseline={})
    assert len(blessing.reasons) == 2
    assert [check["rule"] for check in blessing.to_json()["checks"]] == ["min", "max"]


def test_unknown_metric_names_the_nearest():
    with pytest.raises(UserError, match="no metric 'recal@10'; the nearest is 'recall@10'"):
        decide({"recal@10": {"min": 0.5}})
