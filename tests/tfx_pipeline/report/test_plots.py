import numpy as np
import pytest

from tfx_pipeline.evaluation.result import EmbeddingSample
from tfx_pipeline.report.history import History
from tfx_pipeline.report.plots import history_svg, space_svg


def sample(rows, width=8):
    generator = np.random.default_rng(0)
    images, texts = generator.normal(size=(2, rows, width)).astype(np.float32)
    return EmbeddingSample(images, texts)


def test_no_curves_no_plot():
    assert history_svg(History()) is None


def test_names_of_losses_are_text_not_mathematics():
    svg = history_svg(History({"a$b$<c>": ([1, 2], [3.0, float("nan")])}))
    assert "a$b$&lt;c&gt;" in svg
    assert svg.startswith("<svg") and "currentColor" in svg


@pytest.mark.parametrize(
    ("rows", "asked", "used"),
    [(20, "tsne", "t-SNE"), (20, "pca", "PCA"), (4, "tsne", "PCA"), (1, "tsne", "PCA")],
)
def test_projection(rows, asked, used):
    svg, name = space_svg(sample(rows), asked, seed=0)
    assert name == used
    assert svg.count("<use ") >= 2 * rows
    assert f"queries ({rows})" in svg


def test_equal_embeddings_can_be_drawn():
    ones = np.ones((20, 8), np.float32)
    for projection in ("tsne", "pca"):
        svg, _ = space_svg(EmbeddingSample(ones, ones), projection, seed=0)
        assert "nan" not in svg
