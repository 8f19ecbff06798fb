"""A small evaluation, built by hand."""

import dataclasses
import io
import math

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from tfx_pipeline.evaluation.blessing import bless
from tfx_pipeline.evaluation.config import EvaluationConfig
from tfx_pipeline.evaluation.metric_keys import metric_keys
from tfx_pipeline.evaluation.result import (
    EmbeddingSample,
    EvaluationResult,
    Example,
    JudgedHit,
    Space,
)
from tfx_pipeline.evaluation.retrieval import (
    headline_keys,
    query_sections,
    retrieval_note,
    retrieval_tables,
)
from vl_models.metrics.bootstrap import Interval

QUERY = "<script>alert('x')</script> & 红裙子"


def photo(seed, size=(90, 60)):
    pixels = np.random.default_rng(seed).integers(256, size=(*size[::-1], 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.fixture
def evaluation():
    config = EvaluationConfig(
        ks=[1, 10],
        slices=["language"],
        report={"projection": "pca"},
        thresholds={"recall@10": {"min": 0.5}, "recall@1": {"min": 0.1}},
    )
    metrics = dict.fromkeys(metric_keys(config, ["language=en", "language=zh"]), 0.25)
    metrics.update({"recall@10": 0.4, "median_rank": 1234.5, "auc": math.nan})
    generator = np.random.default_rng(0)
    example = Example(
        query=QUERY,
        language="zh",
        rank=1200,
        hits=(JudgedHit("a", 0.9, ""), JudgedHit("b", 0.8, "known"), JudgedHit("broken", 0.7, "")),
        wanted=JudgedHit("d", -0.25, "correct"),
    )
    counts = {"queries": 3, "pairs": 4, "gallery_images": 20000, "pairs_without_image": 2}
    thumbnails = {"a": photo(1), "b": photo(2), "d": photo(3), "broken": b"no image"}
    sample = EmbeddingSample(generator.normal(size=(30, 8)), generator.normal(size=(20, 8)))
    failure = dataclasses.replace(example, query="second query")
    return EvaluationResult(
        config=config,
        metrics=metrics,
        intervals={"recall@10": Interval(0.35, 0.45)},
        baseline={"recall@10": 0.45, "median_rank": 1300.0, "modality_gap": 0.5},
        blessing=bless(metrics, config, {}),
        per_query=pa.table(
            {
                "direction": ["text_to_image"] * 3 + ["image_to_text"],
                "language": ["en", "zh", "en", None],
            }
        ),
        counts=counts,
        headline=tuple(headline_keys(config)),
        notes=(retrieval_note(config, counts),),
        sections=(
            *retrieval_tables(config, {"language": {"en": 2, "zh": 1}}),
            Space("Embedding space", sample, gap="modality_gap"),
            *query_sections((example,), (failure,), thumbnails),
        ),
    )


@pytest.fixture
def with_section():
    """with_section(evaluation, section) → the evaluation with one section more, or another."""

    def make(evaluation, section):
        others = [one for one in evaluation.sections if one.title != section.title]
        return dataclasses.replace(evaluation, sections=(*others, section))

    return make
