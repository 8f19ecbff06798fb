"""The experiment's choices about data: which folder, and how Examples are made of it."""

from __future__ import annotations

from typing import Any

import pydantic

from tfx_pipeline.data.config import (
    ChecksConfig,
    CorrelationConfig,
    CsvConfig,
    ExampleGenConfig,
    ImageConfig,
    PropensityConfig,
    SplitConfig,
)
from tfx_pipeline.data.folder import DataFolder
from vl_models.strict_config import StrictConfig


class DataConfig(StrictConfig):
    """Which data, and how Examples are made of it; what is null is as data.yaml says."""

    folder: str  # a data folder: data.yaml, log/, images/; a path, or s3:// or gs://
    span_window: pydantic.PositiveInt | None = None  # the newest N spans; all by default
    schema_file: str | None = None  # a curated schema; inferred from statistics by default
    shorter_side: pydantic.PositiveInt = 256  # images are stored with this side, in pixels
    quality: int = pydantic.Field(default=90, ge=1, le=100)  # of re-encoded JPEGs
    max_pixels: pydantic.PositiveInt = 50_000_000  # larger images are rejected, unread
    max_bytes: pydantic.PositiveInt = 50_000_000
    csv: CsvConfig | None = None
    splits: SplitConfig | None = None
    propensity: PropensityConfig | None = None
    correlation: CorrelationConfig | None = None
    checks: ChecksConfig = ChecksConfig()
    shards: pydantic.PositiveInt = 8
    max_rejected_fraction: float = pydantic.Field(default=0.01, ge=0, le=1)

    def example_config(self, folder: DataFolder) -> ExampleGenConfig:
        """How Examples are made of a data folder."""
        changes: dict[str, Any] = {
            "checks": self.checks,
            "shards": self.shards,
            "max_rejected_fraction": self.max_rejected_fraction,
            "images": ImageConfig(
                root=folder.image_root,
                ids=folder.image_ids,
                shorter_side=self.shorter_side,
                quality=self.quality,
                max_pixels=self.max_pixels,
                max_bytes=self.max_bytes,
            ),
        }
        changes |= {"csv": self.csv} if self.csv is not None else {}
        changes |= {"splits": self.splits} if self.splits is not None else {}
        changes |= {"propensity": self.propensity} if self.propensity is not None else {}
        changes |= {"correlation": self.correlation} if self.correlation is not None else {}
        return folder.example_config(**changes)
