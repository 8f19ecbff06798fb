import numpy as np
import pytest

from tfx_pipeline.evaluation.config import EvaluationConfig
from tfx_pipeline.evaluation.evaluators import evaluate
from tfx_pipeline.evaluation.write import write_evaluation
from vl_models.errors import UserError

COLORS = {
    "red": (255, 0, 0),
    "rose": (255, 40, 40),
    "wine": (200, 10, 10),
    "green": (0, 255, 0),
    "lime": (60, 255, 0),
    "moss": (20, 90, 10),
    "stray": (250, 5, 0),
    "plain": (255, 20, 20),
}
LABELS = {
    **dict.fromkeys(("red", "rose", "wine"), ("warm",)),
    **dict.fromkeys(("green", "lime", "moss", "stray"), ("冷",)),
}


@pytest.fixture(scope="module")
def paths(tmp_path_factory, make):
    root = tmp_path_factory.mktemp("images")
    make.image_tower(root / "tower")
    images = {name: make.png(color) for name, color in COLORS.items()}
    make.gallery(root / "gallery", images, labels=LABELS)
    make.gallery(root / "unlabelled", images)
    return root


def options(**changes):
    return EvaluationConfig(
        bootstrap={"samples": 20}, batch_size=3, report={"projection": "pca"}, **changes
    )


def evaluate_images(tower, gallery, config):
    return evaluate({"image_tower": tower}, config, gallery_dir=gallery)


@pytest.fixture(scope="module")
def evaluation(paths):
    return evaluate_images(paths / "tower", paths / "gallery", options())


def expected():
    """Votes of all other labelled images: with seven, twenty neighbours are all there are."""
    names = list(LABELS)
    colors = np.array([COLORS[name] for name in names], float)
    colors /= np.linalg.norm(colors, axis=1, keepdims=True)
    weights = np.exp(colors @ colors.T / 0.07)
    np.fill_diagonal(weights, 0)
    warm = np.array([LABELS[name] == ("warm",) for name in names])
    for_warm, for_cold = weights @ warm, weights @ ~warm
    return np.where(warm, for_warm > for_cold, for_cold > for_warm)


def test_accuracy_over_the_labelled_images(evaluation):
    assert evaluation.metrics == {"knn@20/accuracy": pytest.approx(expected().mean())}
    assert expected().sum() == 6  # the stray lies among the warm
    low, high = evaluation.intervals["knn@20/accuracy"]
    assert low <= evaluation.metrics["knn@20/accuracy"] <= high
    assert evaluation.counts == {"gallery_images": 8, "labelled_images": 7}
    rows = evaluation.per_query.to_pylist()
    assert {row["key"]: row["knn@20/accuracy"] for row in rows} == dict.fromkeys(LABELS, 1.0) | {
        "stray": 0.0
    }


def test_it_is_written_like_any_evaluation(evaluation, tmp_path):
    write_evaluation(evaluation, tmp_path, config_yaml="system: moco")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "knn@20/accuracy" in page and "8 gallery images, 7 of them with a label" in page
    assert "images (8)" in page and "queries (" not in page
    assert ">冷</text>" in page and ">warm</text>" in page
    assert "<h2>Retrieval</h2>" not in page and "Modality gap" not in page


def test_without_labels_it_is_not_defined(paths):
    found = evaluate_images(paths / "tower", paths / "unlabelled", options())
    assert np.isnan(found.metrics["knn@20/accuracy"])
    assert found.counts == {"gallery_images": 8, "labelled_images": 0}
    assert found.per_query.num_rows == 0


def test_a_threshold_on_retrieval_is_refused(paths):
    with pytest.raises(UserError) as error:
        evaluate_images("/nowhere", "/nowhere", options(thresholds={"recall@10": {"min": 0.1}}))
    assert str(error.value) == (
        "evaluation.thresholds: this evaluation has no metric 'recall@10'; "
        "the nearest is 'knn@20/accuracy'. Received: thresholds=['recall@10']"
    )
