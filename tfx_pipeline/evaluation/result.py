"""What an evaluation yields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from tfx_pipeline.evaluation.blessing import Blessing
from tfx_pipeline.evaluation.config import EvaluationConfig
from vl_models.metrics.bootstrap import Interval


@dataclass(frozen=True)
class JudgedHit:
    """One image in the results of a query.

    ``mark`` is "correct" (clicked in the evaluated split), "known" (clicked in another split,
    removed from the ranks) or "" (never clicked for this query).
    """

    image_id: str
    score: float
    mark: str


@dataclass(frozen=True)
class Example:
    """A query with its first results.

    Attributes:
        query: normalised text.
        language: its language code.
        rank: filtered rank of its best correct image.
        hits: the first images of the whole gallery.
        wanted: its best-ranked correct image.
    """

    query: str
    language: str
    rank: int
    hits: tuple[JudgedHit, ...]
    wanted: JudgedHit

    @property
    def shown(self) -> tuple[JudgedHit, ...]:
        """Every image that the report shows for this query."""
        return (*self.hits, self.wanted)


@dataclass(frozen=True)
class EmbeddingSample:
    """Random images and queries for the plot of the space.

    Attributes:
        images: float32[n, D].
        texts: float32[m, D].
        image_labels: a label text per image, "" for none; empty without labels.
        text_labels: likewise per query, of the image that was clicked for it most.
    """

    images: np.ndarray
    texts: np.ndarray
    image_labels: tuple[str, ...] = ()
    text_labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class AttentionStrip:
    """What a text's embedding attends to under one prefix: one weight per token."""

    prefix: str
    tokens: tuple[str, ...]
    weights: tuple[float, ...]


@dataclass(frozen=True)
class AttentionMap:
    """A query with one strip per text prefix."""

    query: str
    language: str
    strips: tuple[AttentionStrip, ...]


@dataclass(frozen=True)
class Row:
    """A row of a table: what it is called, and the metrics it shows."""

    labels: tuple[str, ...]
    keys: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """Metrics side by side; ``columns`` name the labels, too."""

    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    heading: str = ""


@dataclass(frozen=True)
class Section:
    """A part of the report.

    Attributes:
        title: its heading.
        template: file in `tfx_pipeline/report/`, which gets the section itself.
        pictures: whether it comes behind the tables of all evaluators and the training.
    """

    template: ClassVar[str]
    pictures: ClassVar[bool] = True
    title: str


@dataclass(frozen=True)
class Tables(Section):
    """Tables with a note below; ``curves`` are precision at `RECALL_LEVELS` by name."""

    template = "tables.html.j2"
    pictures = False
    tables: tuple[Table, ...]
    note: str = ""
    curves: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Space(Section):
    """The embedding space in the plane; ``before`` is of the features, where towers read such.

    ``gap`` is the key of the metric that is named above it, "" for none.
    """

    template = "space.html.j2"
    sample: EmbeddingSample
    before: EmbeddingSample | None = None
    gap: str = ""
    labels: str = "labels"


@dataclass(frozen=True)
class Attention(Section):
    """What the embeddings of a few queries attend to."""

    template = "attention.html.j2"
    maps: tuple[AttentionMap, ...]


@dataclass(frozen=True)
class Queries(Section):
    """Queries with their first images; ``thumbnails`` and ``names`` of images by id."""

    template = "queries.html.j2"
    examples: tuple[Example, ...]
    thumbnails: Mapping[str, bytes]
    note: str = ""
    names: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ReconstructedImage:
    """An image as the model read it and as it was made again, both encoded; its PSNR in dB."""

    image_id: str
    original: bytes
    reconstruction: bytes
    psnr: float


@dataclass(frozen=True)
class Reconstructions(Section):
    """Images beside what was made of their codes."""

    template = "reconstructions.html.j2"
    images: tuple[ReconstructedImage, ...]
    note: str = ""


@dataclass(frozen=True)
class CaptionedImage:
    """An image, encoded, with its caption, that of a neighbour ("" for none), and references."""

    image_id: str
    encoded: bytes
    caption: str
    nearest: str
    references: tuple[str, ...]


@dataclass(frozen=True)
class CaptionedImages(Section):
    """Images with what was written about them and what people said."""

    template = "captions.html.j2"
    images: tuple[CaptionedImage, ...]
    note: str = ""


@dataclass(frozen=True)
class Measured:
    """What one evaluator found.

    Attributes:
        metrics: key → value; NaN where not defined.
        intervals: key → bootstrap interval, where there is one.
        counts: numbers of what was looked at, and of what was left out.
        per_query: one row per item that was tested.
        headline: keys that one looks at first.
        note: how the numbers came about, a few sentences.
        sections: its part of the report.
    """

    metrics: Mapping[str, float]
    intervals: Mapping[str, Interval]
    counts: Mapping[str, int] = field(default_factory=dict)
    per_query: pa.Table | None = None
    headline: Sequence[str] = ()
    note: str = ""
    sections: Sequence[Section] = ()


@dataclass(frozen=True)
class EvaluationResult:
    """Metrics of one release on one data set: what its evaluators found.

    Attributes:
        config: what was measured.
        metrics: key → value; NaN where not defined.
        intervals: key → interval, for means over items.
        baseline: metrics of the current release, None if there is none.
        blessing: the decision.
        per_query: one row per item and evaluator; columns that others have are null.
        counts: numbers of queries, pairs and images, and what was left out.
        headline: keys that one looks at first.
        notes: how the numbers came about.
        sections: of the report.
    """

    config: EvaluationConfig
    metrics: dict[str, float]
    intervals: dict[str, Interval]
    baseline: dict[str, float | None] | None
    blessing: Blessing
    per_query: pa.Table
    counts: dict[str, int]
    headline: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    sections: tuple[Section, ...] = ()

    def section(self, title: str) -> Any:
        """Return the section of a title.

        Raises:
            KeyError: there is none.
        """
        return {section.title: section for section in self.sections}[title]
