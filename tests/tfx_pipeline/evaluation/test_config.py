import pydantic
import pytest

from tfx_pipeline.evaluation.config import EvaluationConfig
from tfx_pipeline.evaluation.metric_keys import lower_is_better, metric_keys


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ks": [10, 1]}, "numbers in ascending order, each once"),
        ({"query_length_bounds": [2, 2]}, "numbers in ascending order, each once"),
        ({"splits": ["test", "test"]}, "each name once"),
        ({"splits": []}, "at least 1 item"),
        ({"thresholds": {"mrr": {}}}, "needs min, max or max_drop_vs_baseline"),
        ({"thresholds": {"mrr": {"max_drop_vs_baseline": -1}}}, "greater than or equal to 0"),
        ({"batch": 3}, "Extra inputs are not permitted"),
    ],
)
def test_wrong_values(change, message):
    with pytest.raises(pydantic.ValidationError, match=message):
        EvaluationConfig(**change)


def test_keys():
    config = EvaluationConfig(ks=[1, 10], map_k=50)
    keys = metric_keys(config, ["language=zh"])
    names = ["recall@1", "recall@10", "mrr", "median_rank", "ndcg@1", "ndcg@10", "map@50", "auc"]
    assert keys == [
        *names,
        *(f"{name}/image_to_text" for name in names),
        *(f"{name}/mean" for name in names),
        "modality_gap",
        *(f"language=zh/{name}" for name in names),
    ]


def test_keys_of_one_direction():
    config = EvaluationConfig(ks=[1], directions=["image_to_text"])
    keys = metric_keys(config, ["language=zh"])
    assert "recall@1/image_to_text" in keys
    assert not any(key.endswith("/mean") or key.startswith("language") for key in keys)


def test_lower_is_better():
    assert lower_is_better("median_rank")
    assert lower_is_better("language=zh/median_rank")
    assert lower_is_better("median_rank/image_to_text")
    assert lower_is_better("modality_gap")
    assert not lower_is_better("language=zh/recall@10")
