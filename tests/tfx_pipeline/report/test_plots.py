import warnings

import numpy as np
import pytest

from tfx_pipeline.evaluation.result import EmbeddingSample
from tfx_pipeline.report.history import History
from tfx_pipeline.report.plots import _LABEL_COLORS, history_svg, label_colors, space_svg


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


def test_labels_have_colours_and_modalities_markers():
    plain = sample(3)
    points = EmbeddingSample(
        plain.images, plain.texts, ("cat", "$dog$<b>", ""), ("cat", "cat", "a" * 40)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        svg, _ = space_svg(points, "pca", seed=0)
    for text in ("images (3)", "queries (3)", "cat", "$dog$&lt;b&gt;", "other or no label"):
        assert f">{text}</text>" in svg, text
    assert "a" * 27 + "…" in svg and "a" * 29 not in svg
    # Three points of "cat" and its place in the legend.
    assert svg.count(_LABEL_COLORS[0]) >= 4


def test_chinese_labels_raise_no_warning_of_missing_glyphs():
    plain = sample(2)
    points = EmbeddingSample(plain.images, plain.texts, ("动物", ""), ("", "动物"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        svg, _ = space_svg(points, "pca", seed=0)
    assert ">动物</text>" in svg


def test_the_twelve_commonest_labels_have_a_colour():
    labels = [f"label {number:02d}" for number in range(15)] + ["label 14", "", "", ""]
    colors = label_colors(labels)
    assert list(colors) == ["label 14", *(f"label {number:02d}" for number in range(11))]
    assert len(set(colors.values())) == 12


def test_images_alone():
    plain = sample(5)
    svg, _ = space_svg(EmbeddingSample(plain.images, plain.texts[:0]), "pca", seed=0)
    assert "images (5)" in svg and "queries" not in svg
