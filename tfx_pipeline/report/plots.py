"""Plots as inline SVG that takes the page's text colour, so that it reads in light and dark."""

from __future__ import annotations

import io
import re
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from tfx_pipeline.evaluation.result import EmbeddingSample
from tfx_pipeline.report.history import LEARNING_RATE, History
from vl_models.metrics.class_retrieval import RECALL_LEVELS

# Stands for the text colour of the page; occurs nowhere else.
_INK = "#010203"
_ACCENTS = ("#3b82f6", "#f97316")
# Of labels, to be told apart on light and dark pages.
_LABEL_COLORS = (
    "#3b82f6",
    "#f97316",
    "#22a355",
    "#e11d48",
    "#9061f9",
    "#0ea5b7",
    "#ca8a04",
    "#ec4899",
    "#84a512",
    "#8b5e34",
    "#2f5d9b",
    "#d98c86",
)
_OTHER = "#9aa5b1"
_LONGEST_LABEL = 28
_MAX_CURVES = 12
_MAX_POINTS = 1000
# t-SNE wants clearly more points than its perplexity.
_MIN_TSNE_POINTS = 12


def history_svg(history: History) -> str | None:
    """One small panel per curve, the raw values pale and their running mean on top.

    None without curves. At most 12 curves are drawn.
    """
    curves = list(history.curves.items())[-_MAX_CURVES:]
    if not curves:
        return None
    columns = min(3, len(curves))
    rows = -(-len(curves) // columns)
    figure = Figure(figsize=(3.4 * columns, 2.2 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis, (name, (steps, values)) in zip(axes, curves):
        stride = max(1, len(steps) // _MAX_POINTS)
        shown, raw = np.asarray(steps)[::stride], np.asarray(values)[::stride]
        if name.startswith(LEARNING_RATE):
            axis.plot(shown, raw, color=_ACCENTS[1], linewidth=1.4)
        else:
            axis.plot(shown, raw, color=_ACCENTS[0], linewidth=0.8, alpha=0.35)
            axis.plot(shown, _running_mean(raw), color=_ACCENTS[0], linewidth=1.6)
        # A name is text, never mathematics between dollar signs.
        axis.set_title(name, fontsize=9, parse_math=False)
        _plain(axis)
    for axis in axes[len(curves) :]:
        axis.set_axis_off()
    return _svg(figure, "history")


def precision_svg(curves: Mapping[str, np.ndarray]) -> str | None:
    """Precision over recall, one line per direction; None without curves."""
    if not curves:
        return None
    figure = Figure(figsize=(5.2, 3.2), layout="constrained")
    axis = figure.subplots()
    for (name, values), color in zip(curves.items(), _ACCENTS):
        axis.plot(RECALL_LEVELS, values, color=color, linewidth=1.6, label=name.replace("_", " "))
    axis.set_xlim(0, 1)
    axis.set_ylim(0, 1)
    axis.set_xlabel("recall", fontsize=9, color=_INK)
    axis.set_ylabel("precision", fontsize=9, color=_INK)
    axis.legend(frameon=False, fontsize=8, labelcolor=_INK)
    _plain(axis)
    return _svg(figure, "precision")


def space_svg(sample: EmbeddingSample, projection: str, seed: int) -> tuple[str, str]:
    """Both modalities in the plane, told apart by markers and, with labels, coloured by these.

    Returns:
        The SVG, and the name of the projection that was used ("t-SNE", or "PCA" if asked for or
        if there are too few points).
    """
    points = np.concatenate([sample.images, sample.texts]).astype(np.float64)
    use_tsne = projection == "tsne" and len(points) >= _MIN_TSNE_POINTS
    plane = _tsne(points, seed) if use_tsne else _pca(points)
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axis = figure.subplots()
    split = len(sample.images)
    labelled = bool(sample.image_labels)
    colors = label_colors([*sample.image_labels, *sample.text_labels])
    modalities = (
        (plane[:split], sample.image_labels, "images", "o", _ACCENTS[0]),
        (plane[split:], sample.text_labels, "queries", "^", _ACCENTS[1]),
    )
    handles = []
    for where, labels, name, marker, accent in modalities:
        if not len(where):
            continue
        _scatter(axis, where, [colors.get(x, _OTHER) for x in labels] or accent, marker)
        handles.append(_handle(f"{name} ({len(where)})", marker, _INK if labelled else accent))
    handles += [_handle(_shortened(name), "s", color) for name, color in colors.items()]
    if labelled:
        handles.append(_handle("other or no label", "s", _OTHER))
    # Only distances mean something in a projection: no axes.
    axis.set_axis_off()
    legend = figure.legend(
        handles=handles,
        frameon=False,
        fontsize=8,
        loc="outside right upper" if labelled else "outside upper center",
        ncols=1 if labelled else 2,
        labelcolor=_INK,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)  # a label is text, too
    return _svg(figure, "space"), "t-SNE" if use_tsne else "PCA"


def label_colors(labels: Sequence[str]) -> dict[str, str]:
    """Colours of the commonest labels, at most 12; "" is none."""
    counts = Counter(label for label in labels if label)
    # Of equally common ones the first by name.
    order = sorted(counts, key=lambda label: (-counts[label], label))
    return dict(zip(order, _LABEL_COLORS))


def _scatter(axis: Any, where: np.ndarray, color: Any, marker: str) -> None:
    axis.scatter(
        where[:, 0], where[:, 1], s=14, marker=marker, color=color, alpha=0.65, linewidths=0
    )


def _handle(label: str, marker: str, color: str) -> Line2D:
    return Line2D([], [], linestyle="", marker=marker, markersize=4, color=color, label=label)


def _shortened(label: str) -> str:
    return label if len(label) <= _LONGEST_LABEL else f"{label[: _LONGEST_LABEL - 1]}…"


def _pca(points: np.ndarray) -> np.ndarray:
    centred = points - points.mean(axis=0)
    left, scale, _ = np.linalg.svd(centred, full_matrices=False)
    plane = np.zeros((len(points), 2))
    kept = min(2, len(scale))
    plane[:, :kept] = left[:, :kept] * scale[:kept]
    return plane


def _tsne(points: np.ndarray, seed: int) -> np.ndarray:
    from sklearn.manifold import TSNE  # scikit-learn takes a second to import
    from threadpoolctl import threadpool_limits

    perplexity = min(30.0, (len(points) - 1) / 3)
    # Starting from PCA would divide by a zero spread if all embeddings were equal.
    model = TSNE(perplexity=perplexity, init="random", metric="cosine", random_state=seed)
    # OpenMP's threads spin at every step: beside another process, several are slower than one.
    with threadpool_limits(1):
        return model.fit_transform(points)


def _running_mean(values: np.ndarray) -> np.ndarray:
    """Mean over a centred window of a twentieth of the curve, shorter at its ends."""
    window = max(1, len(values) // 20)
    kernel = np.ones(window)
    total = np.convolve(values, kernel, mode="same")
    return total / np.convolve(np.ones(len(values)), kernel, mode="same")


def _plain(axis: matplotlib.axes.Axes) -> None:
    axis.set_facecolor("none")
    axis.tick_params(labelsize=8, colors=_INK)
    axis.xaxis.get_offset_text().set_color(_INK)
    axis.yaxis.get_offset_text().set_color(_INK)
    axis.title.set_color(_INK)
    for side, spine in axis.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(_INK)
        spine.set_alpha(0.4)


def _svg(figure: Figure, salt: str) -> str:
    """Serialise without XML header, dates or links; ids differ between the plots of a page."""
    figure.patch.set_alpha(0)
    FigureCanvasSVG(figure)
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with (
        matplotlib.rc_context({"svg.hashsalt": salt, "svg.fonttype": "none"}),
        warnings.catch_warnings(),
    ):
        # The page's fonts draw the text, not matplotlib's, which lacks Chinese.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(buffer, format="svg", metadata=nothing)
    text = buffer.getvalue()
    text = text[text.index("<svg") :].replace(_INK, "currentColor")
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    # Elements are named figure_1, axes_1, … in every plot.
    return re.sub(r'<g id="[a-z]+[\w.]*_\d+">', "<g>", text)
