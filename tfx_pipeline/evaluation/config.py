"""What is measured, on which slices, and which values a release must reach."""

from __future__ import annotations

import itertools
from typing import Literal

import pydantic

from vl_models.metrics.retrieval import MapDenominator, Protocol
from vl_models.strict_config import StrictConfig

SplitName = Literal["train", "val", "test"]
RerankOrder = Literal["score", "sum"]
Direction = Literal["text_to_image", "image_to_text"]
SliceName = Literal["language", "head_tail", "seen_unseen", "query_length", "correlation"]
EvaluatorName = Literal[
    "retrieval",
    "classes",
    "zero_shot",
    "images",
    "rerank",
    "image_tokens",
    "twins",
    "answers",
    "captions",
]


class BootstrapConfig(StrictConfig):
    """Confidence intervals over queries."""

    samples: int = pydantic.Field(default=1000, ge=1)
    confidence: float = pydantic.Field(default=0.95, gt=0, lt=1)
    seed: int = 0


class Threshold(StrictConfig):
    """What one metric must reach; at least one of the rules."""

    min: float | None = None
    max: float | None = None
    max_drop_vs_baseline: float | None = pydantic.Field(
        default=None, ge=0, description="largest allowed worsening against the current release"
    )

    @pydantic.model_validator(mode="after")
    def _has_a_rule(self) -> Threshold:
        if self.min is None and self.max is None and self.max_drop_vs_baseline is None:
            raise ValueError("a threshold needs min, max or max_drop_vs_baseline")
        return self


class ReportConfig(StrictConfig):
    """What the HTML report shows; the bounds keep its file below 3 MB."""

    queries: int = pydantic.Field(default=12, ge=0, le=16, description="example queries")
    failures: int = pydantic.Field(default=8, ge=0, le=16, description="worst queries")
    results: int = pydantic.Field(default=6, ge=1, le=8, description="images per query")
    projection: Literal["tsne", "pca"] = "tsne"
    sample: int = pydantic.Field(default=400, ge=2, le=1000, description="points per modality")


class RerankConfig(StrictConfig):
    """What a reranker gets to see, and what is made of its scores."""

    candidates: pydantic.PositiveInt = pydantic.Field(
        default=32, description="first images of the towers, at most the gallery"
    )
    order: RerankOrder = pydantic.Field(
        default="score",
        description="by score alone, or by the sum: cosine + weight · score",
    )
    weight: pydantic.FiniteFloat | Literal["auto"] = pydantic.Field(
        default="auto", description="of the score in the sum; auto: the best on the split val"
    )


class AnswersConfig(StrictConfig):
    """What answers are compared with."""

    towers: str | None = pydantic.Field(
        default=None,
        description="exported towers to compare with: a release root, a run folder, or a folder "
        "of image_tower/ and text_tower/",
    )
    candidates: pydantic.PositiveInt = pydantic.Field(
        default=10, description="answers that the towers choose from, the usual ones of a question"
    )


class EvaluationConfig(StrictConfig):
    """The evaluation of a release."""

    evaluators: list[EvaluatorName] | None = pydantic.Field(
        default=None, min_length=1, description="all that fit members and data by default"
    )
    splits: list[SplitName] = pydantic.Field(default=["test"], min_length=1)
    gallery: Literal["all", "split"] = pydantic.Field(
        default="all",
        description="every image of the store, or those clicked in the evaluated splits",
    )
    protocol: Protocol = pydantic.Field(
        default="pairs", description="one test item per (query, image) pair, or per query (any hit)"
    )
    directions: list[Direction] = pydantic.Field(
        default=["text_to_image", "image_to_text"], min_length=1
    )
    ks: list[pydantic.PositiveInt] = pydantic.Field(default=[1, 5, 10], min_length=1)
    gain: Literal["clicks", "weight"] = pydantic.Field(
        default="clicks", description="gains of NDCG"
    )
    map_k: pydantic.PositiveInt | None = pydantic.Field(default=None, description="cut-off of mAP")
    map_denominator: MapDenominator = "relevant"
    slices: list[SliceName] = pydantic.Field(
        default=["language", "head_tail", "seen_unseen", "query_length", "correlation"],
        description="correlation is left out where the relevance file has no such column, "
        "seen_unseen where it has no click of the train split",
    )
    head_min_clicks: int = pydantic.Field(
        default=10,
        ge=1,
        description="clicks over all splits from which a query belongs to the head",
    )
    query_length_bounds: list[pydantic.PositiveInt] = pydantic.Field(
        default=[2, 5], description="upper ends of the length classes, in words and CJK characters"
    )
    bootstrap: BootstrapConfig = BootstrapConfig()
    thresholds: dict[str, Threshold] = pydantic.Field(default={}, description="metric key → rules")
    batch_size: int = pydantic.Field(default=128, ge=1)
    rerank: RerankConfig = RerankConfig()
    answers: AnswersConfig = AnswersConfig()
    report: ReportConfig = ReportConfig()

    @pydantic.field_validator("ks", "query_length_bounds")
    @classmethod
    def _ascends(cls, numbers: list[int]) -> list[int]:
        if any(low >= high for low, high in itertools.pairwise(numbers)):
            raise ValueError("numbers in ascending order, each once")
        return numbers

    @pydantic.field_validator("splits", "directions", "slices", "evaluators")
    @classmethod
    def _has_no_duplicate(cls, names: list[str] | None) -> list[str] | None:
        if names is not None and len(set(names)) < len(names):
            raise ValueError("each name once")
        return names
