import itertools

import numpy as np
import pyarrow as pa
import pytest

from tfx_pipeline.data.config import CorrelationConfig, SplitConfig
from tfx_pipeline.data.correlation import add_correlation, image_labels
from tfx_pipeline.data.log_branch import FINAL_SCHEMA, FINISHED_SCHEMA
from tfx_pipeline.data.stats import new_stats


def pairs(*rows):
    """FINISHED_SCHEMA of (query, image_id, clicks, label, split)."""
    names = ("query", "image_id", "clicks", "image_label", "split")
    values = [dict(zip(names, row, strict=True)) for row in sorted(rows)]
    defaults = {"weight": 1.0, "language": "en", "query_total": 1}
    return pa.Table.from_pylist([defaults | value for value in values], FINISHED_SCHEMA)


def scored(*rows, **config):
    """{query: (correlation, score)} and the counters."""
    stats = new_stats()
    table = add_correlation(pairs(*rows), CorrelationConfig(**config), stats)
    assert table.schema == FINAL_SCHEMA
    found = {}
    for row in table.to_pylist():
        value = (row["correlation"], row["correlation_score"])
        assert found.setdefault(row["query"], value) == value
    return found, stats["counters"]


def spread(query, clicks, labels=None, split="train"):
    """A query whose clicks fall on as many images."""
    labels = labels or [None] * len(clicks)
    return [
        (query, f"{query} {i}", n, label, split) for i, (n, label) in enumerate(zip(clicks, labels))
    ]


def score(*rows):
    found, _ = scored(*rows, min_clicks=2)
    [(_, value)] = found.values()
    return value


@pytest.mark.parametrize(("images", "each"), [(1, 7), (2, 5), (5, 2), (40, 1)])
def test_clicks_spread_evenly_over_images(images, each):
    n = images * each
    expected = (1 / images + (each - 1) / (n - 1)) / 2
    assert score(*spread("q", [each] * images)) == pytest.approx(expected, rel=1e-6)


def test_images_of_one_label_agree():
    alike = score(*spread("birthday cake", [2] * 6, ["cake"] * 6))
    assert alike == pytest.approx((1 / 6 + 1) / 2, rel=1e-6)
    # 8 clicks on cakes, 4 on balloons: 8 * 7 + 4 * 3 of 12 * 11 pairs agree.
    mixed = score(*spread("birthday party", [2] * 6, ["cake"] * 4 + ["balloon"] * 2))
    assert mixed == pytest.approx((1 / 6 + 68 / 132) / 2, rel=1e-6)


def test_an_image_without_label_is_a_class_of_its_own():
    rows = [
        ("q", "cake", 3, None, "train"),
        ("q", "x", 3, "cake", "train"),
        ("q", "y", 3, "cake", "train"),
    ]
    assert score(*rows) == pytest.approx((1 / 3 + (6 * 5 + 3 * 2) / (9 * 8)) / 2, rel=1e-6)


def test_labels_of_other_queries_make_no_difference():
    rows = spread("q", [4, 4], ["cake", "dog"])
    found, _ = scored(*rows, *spread("r", [9, 9], ["cake", "cake"]), min_clicks=2)
    assert found["q"][1] == pytest.approx(score(*rows))


def test_agreement_is_unbiased_and_independent_of_popularity():
    shares = np.array([0.5, 0.3, 0.2])
    expected = 0.0
    for drawn in itertools.product(range(3), repeat=5):
        clicks = np.bincount(drawn, minlength=3)
        clicks = clicks[clicks > 0]
        p = clicks / 5
        concentration = np.exp(np.sum(p * np.log(p)))
        agreement = 2 * score(*spread("q", clicks.tolist())) - concentration
        expected += np.prod(shares[list(drawn)]) * agreement
    assert expected == pytest.approx(np.sum(shares**2), abs=1e-6)
    limit = (np.exp(np.sum(shares * np.log(shares))) + np.sum(shares**2)) / 2
    popular = score(*spread("q", [500_000, 300_000, 200_000]))
    assert popular == pytest.approx(limit, abs=1e-5)


def test_abstract_and_concrete_queries():
    found, counters = scored(
        *spread("happy birthday", [1] * 12, ["cake", "balloon", "card", "gift"] * 3),
        *spread("生日快乐", [2] * 6),
        *spread("birthday cake", [1] * 12, ["cake"] * 12),
        *spread("生日蛋糕", [11, 1]),
        *spread("rare", [1] * 9),
    )
    assert {query: value for query, (value, _) in found.items()} == {
        "happy birthday": "weak",
        "生日快乐": "weak",
        "birthday cake": "strong",
        "生日蛋糕": "strong",
        "rare": "strong",  # nine clicks are not enough to tell
    }
    assert found["rare"][1] is None
    assert counters == {"queries_weak": 2, "queries_strong": 3, "queries_with_few_clicks": 1}


def test_threshold_and_minimum_are_bounds():
    rows = spread("q", [2, 2])  # (1/2 + 1/3) / 2 = 5/12
    assert scored(*rows, threshold=5 / 12 - 1e-9, min_clicks=4)[0]["q"][0] == "strong"
    assert scored(*spread("q", [4]), threshold=1, min_clicks=4)[0]["q"] == ("strong", 1.0)
    assert scored(*rows, threshold=5 / 12 + 1e-9, min_clicks=4)[0]["q"][0] == "weak"
    assert scored(*rows, threshold=1, min_clicks=5)[0]["q"] == ("strong", None)


def test_held_out_clicks_decide_only_where_a_query_has_no_others():
    trained = spread("q", [12])
    held_out = [("q", f"other {i}", 1, None, "test") for i in range(30)]
    only_test = spread("r", [1] * 12, split="test")
    found, _ = scored(*trained, *held_out, *only_test)
    assert found["q"] == ("strong", 1.0)
    assert found["r"][0] == "weak"


@pytest.mark.parametrize("value", ["strong", "weak"])
def test_a_fixed_value(value):
    found, counters = scored(*spread("q", [1] * 12), *spread("r", [12]), mode=value)
    assert found == {"q": (value, None), "r": (value, None)}
    other = {"strong": "weak", "weak": "strong"}[value]
    assert counters == {f"queries_{value}": 2, f"queries_{other}": 0}


def test_no_pairs():
    found, counters = scored()
    assert found == {} and set(counters.values()) == {0}


def test_a_label_is_its_number_or_else_its_text():
    labels = image_labels(
        pa.chunked_array([pa.array([3, None, None], pa.int64())]),
        pa.chunked_array([pa.array(["shoe", "red", None])]),
    )
    assert labels.to_pylist() == ["3", "red", None]


def test_from_the_log_to_examples_and_relevance(tmp_path, write_log, build):
    rows = [
        {"query": "Happy Birthday", "image_id": image, "clicks": 3, "split": split}
        for image, split in zip("abcdef", ["train"] * 5 + ["test"])
    ]
    rows += [
        {
            "query": "生日蛋糕",
            "image_id": image,
            "clicks": 3,
            "split": "train",
            "label_text": "cake",
        }
        for image in "abcd"
    ]
    logs = [write_log(tmp_path / f"{i}.jsonl", rows[i::2]) for i in range(2)]
    run = build(logs, splits=SplitConfig(policy="given"))
    found = {(r["query"], r["split"], r["correlation"]) for r in run.relevance}
    assert found == {
        ("happy birthday", "train", "weak"),
        ("happy birthday", "test", "weak"),
        ("生日蛋糕", "train", "strong"),
    }
    scores = {r["query"]: r["correlation_score"] for r in run.relevance}
    assert scores["happy birthday"] == pytest.approx((1 / 5 + 2 / 14) / 2)
    assert scores["生日蛋糕"] == pytest.approx((1 / 4 + 1) / 2)
    example = run.examples["train"]["a"]
    by_query = dict(zip(example["query/text"], example["query/correlation"], strict=True))
    assert by_query == {b"happy birthday": b"weak", "生日蛋糕".encode(): b"strong"}
    assert run.examples["test"]["f"]["query/correlation"] == [b"weak"]
    assert run.summary["counters"]["queries_weak"] == 1
    assert run.summary["counters"]["queries_strong"] == 1
    assert run.summary["counters"]["queries_with_few_clicks"] == 0
