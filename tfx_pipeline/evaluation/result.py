"""What an evaluation yields."""

from __future__ import annotations

from dataclasses import dataclass, field

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
class EvaluationResult:
    """Metrics of one release on one data set.

    Attributes:
      config: what was measured.
      metrics: key → value; NaN where not defined.
      intervals: key → interval, for ranking measures of one direction.
      baseline: metrics of the current release, None if there is none.
      blessing: the decision.
      per_query: one row per query (text to image) and per image (image to text).
      counts: numbers of queries, pairs and images, and what was left out.
      sample: points for the plot.
      examples: a random choice of queries.
      failures: the queries with the worst ranks.
      thumbnails: image id → encoded image, for all images of examples and failures.
      attention: of a few queries; none for towers without text prefixes.
      sample_before: of the features, where the towers read such.
      precision_curves: direction → precision at `RECALL_LEVELS`; of an evaluation by class.
    """

    config: EvaluationConfig
    metrics: dict[str, float]
    intervals: dict[str, Interval]
    baseline: dict[str, float | None] | None
    blessing: Blessing
    per_query: pa.Table
    counts: dict[str, int]
    sample: EmbeddingSample
    examples: tuple[Example, ...] = ()
    failures: tuple[Example, ...] = ()
    thumbnails: dict[str, bytes] = field(default_factory=dict)
    attention: tuple[AttentionMap, ...] = ()
    sample_before: EmbeddingSample | None = None
    precision_curves: dict[str, np.ndarray] = field(default_factory=dict)
