import datetime

import pyarrow as pa
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfx_pipeline.data.config import SplitConfig
from tfx_pipeline.data.splits import assign_by_key, assign_by_time, check_days, day_splits, split_of
from vl_models.errors import UserError

TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
PAIRS = st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=30)


def assign(pairs, config):
    queries, images = (pa.array(column, pa.string()) for column in zip(*pairs, strict=True))
    return assign_by_key(queries, images, config).to_pylist()


@given(PAIRS, PAIRS, st.sampled_from(["by_query", "by_pair", "by_image"]), st.integers(0, 99))
def test_a_key_is_in_one_split_and_stays_there_when_rows_are_added(pairs, more, policy, seed):
    config = SplitConfig(policy=policy, train=0.5, val=0.25, test=0.25, seed=seed)
    before, after = assign(pairs, config), assign(more + pairs, config)[len(more) :]
    assert before == after
    keys = {"by_query": lambda p: p[0], "by_image": lambda p: p[1], "by_pair": lambda p: p}[policy]
    split = {}
    for pair, name in zip(pairs, before, strict=True):
        assert split.setdefault(keys(pair), name) == name


def test_fractions_are_met_and_seeds_differ():
    keys = [f"query {i}" for i in range(20_000)]
    config = SplitConfig(train=0.8, val=0.15, test=0.05)
    names = [split_of(key, config) for key in keys]
    # Three standard deviations of a binomial share at n = 20,000 are below 0.009.
    assert names.count("train") / 20_000 == pytest.approx(0.8, abs=0.009)
    assert names.count("val") / 20_000 == pytest.approx(0.15, abs=0.009)
    other = [split_of(key, config.model_copy(update={"seed": 1})) for key in keys]
    assert sum(a != b for a, b in zip(names, other, strict=True)) > 4_000


def test_all_in_one_split():
    config = SplitConfig(train=1, val=0, test=0)
    assert {split_of(str(i), config) for i in range(1000)} == {"train"}


def test_cut_off_times_belong_to_the_later_split():
    day = [datetime.datetime(2026, 1, d, tzinfo=datetime.UTC) for d in (1, 2, 3, 4)]
    config = SplitConfig(policy="by_time", val_from=day[1], test_from=day[3])
    times = pa.array([*day, day[3] - datetime.timedelta(microseconds=1)], pa.timestamp("us", "UTC"))
    assert assign_by_time(times, config).to_pylist() == ["train", "val", "val", "test", "val"]


def test_days_are_divided_in_order_by_their_share_of_the_rows():
    config = SplitConfig(policy="by_time", train=0.6, val=0.2, test=0.2)
    assert day_splits({5: 10, 1: 10, 2: 10, 3: 10, 4: 10}, config) == {
        1: "train",
        2: "train",
        3: "train",
        4: "val",
        5: "test",
    }


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"train": 0.9, "val": 0.2, "test": 0.2}, "must add up to 1. Received: 1.3"),
        ({"val_from": "2026-01-01"}, "val_from and test_from go together"),
    ],
)
def test_impossible_settings_are_refused(values, message):
    with pytest.raises(pydantic.ValidationError, match=message):
        SplitConfig(**values)


@pytest.mark.parametrize("days", range(3, 60))
def test_each_split_gets_a_day_with_the_default_fractions(days):
    config = SplitConfig(policy="by_time")
    names = list(day_splits(dict.fromkeys(range(days), 7), config).values())
    assert set(names) == {"train", "val", "test"}
    assert names == sorted(names, key=["train", "val", "test"].index)
    check_days(days, config)


def test_a_split_of_fraction_zero_gets_no_day():
    config = SplitConfig(policy="by_time", train=0.9, val=0, test=0.1)
    assert list(day_splits({1: 5, 2: 5, 3: 1}, config).values()) == ["train", "train", "test"]
    assert list(day_splits({1: 1, 2: 99}, config).values()) == ["train", "test"]
    check_days(2, config)


def test_fewer_days_than_splits_are_refused():
    message = r"covers 2 day\(s\), too few for the splits train, val, test: by_time"
    with pytest.raises(UserError, match=message):
        check_days(2, SplitConfig(policy="by_time"))
    check_days(0, SplitConfig(policy="by_query"))
