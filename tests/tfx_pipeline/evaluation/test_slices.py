import dataclasses

import numpy as np
import pytest

from tfx_pipeline.evaluation.config import EvaluationConfig
from tfx_pipeline.evaluation.relevance import Relevance
from tfx_pipeline.evaluation.slices import query_length, slice_masks, slice_values


@pytest.mark.parametrize(
    ("query", "length"),
    [
        ("red", 1),
        ("red dress, size 10", 4),
        ("红色连衣裙", 5),
        ("nike 跑鞋", 3),
        ("air-max鞋", 2),
        ("ねこ 고양이", 5),
        ("𠮷野家", 3),
        ("", 0),
    ],
)
def test_query_length(query, length):
    assert query_length(query) == length


@pytest.fixture
def relevance():
    return Relevance(
        queries=["a", "a b", "a b c", "a b c d e", "一二三四五六"],
        languages=["en", "en", "en", "en", "zh"],
        clicks=np.array([9, 10, 11, 0, 500]),
        pair_query=np.zeros(0, int),
        pair_image=np.zeros(0, object),
        pair_clicks=np.zeros(0, int),
        pair_weight=np.zeros(0),
        pair_counted=np.zeros(0, bool),
    )


def test_values(relevance):
    values = slice_values(relevance, EvaluationConfig())
    assert values == {
        "language": ["en", "en", "en", "en", "zh"],
        "head_tail": ["tail", "head", "head", "tail", "head"],
        "query_length": ["1-2", "1-2", "3-5", "3-5", "6+"],
    }


def test_correlation_is_a_slice_where_the_file_has_it(relevance):
    assert "correlation" not in slice_values(relevance, EvaluationConfig())
    known = dataclasses.replace(relevance, correlations=["weak", "strong", "weak", "weak", "weak"])
    masks = slice_masks(slice_values(known, EvaluationConfig(slices=["correlation"])))
    assert {name: mask.tolist() for name, mask in masks.items()} == {
        "correlation=strong": [False, True, False, False, False],
        "correlation=weak": [True, False, True, True, True],
    }


def test_seen_and_unseen_are_slices_where_the_file_has_train(relevance):
    assert "seen_unseen" not in slice_values(relevance, EvaluationConfig())
    known = dataclasses.replace(relevance, seen=np.array([True, False, False, True, False]))
    values = slice_values(known, EvaluationConfig(slices=["seen_unseen"]))
    assert values == {"seen_unseen": ["seen", "unseen", "unseen", "seen", "unseen"]}


def test_length_classes_are_configured(relevance):
    config = EvaluationConfig(slices=["query_length"], query_length_bounds=[1, 2, 4])
    assert slice_values(relevance, config) == {"query_length": ["1", "2", "3-4", "5+", "5+"]}


def test_masks_partition_the_queries(relevance):
    masks = slice_masks(slice_values(relevance, EvaluationConfig()))
    assert masks["language=zh"].tolist() == [False, False, False, False, True]
    for name in ("language", "head_tail", "query_length"):
        parts = [mask for key, mask in masks.items() if key.startswith(f"{name}=")]
        np.testing.assert_array_equal(np.sum(parts, axis=0), 1)
