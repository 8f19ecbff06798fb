"""Configuration of Example building; ClickExampleGen carries it as one JSON string."""

from __future__ import annotations

import codecs
import datetime
from typing import Literal

from pydantic import Field, model_validator

from vl_models.strict_config import StrictConfig

LogFormat = Literal["auto", "parquet", "jsonl", "csv", "tfrecord"]
SplitPolicy = Literal["by_query", "by_pair", "by_image", "by_time", "given"]


class CsvConfig(StrictConfig):
    """How CSV is written; `auto` is recognised where only one reading fits.

    `delimiter`: by the header; comma, tab, semicolon or bar. `encoding`: UTF-8, or by the byte
    order mark. `quote`: the double quote; `none` if quotes are plain text. `escape`: quotes in a
    quoted field are doubled, or escaped by a backslash; `none` if a backslash is plain text.
    """

    delimiter: str = "auto"
    encoding: str = "auto"
    quote: str = "auto"
    escape: str = "auto"

    @model_validator(mode="after")
    def _check(self) -> CsvConfig:
        words = {"delimiter": ("auto",), "quote": ("auto", "none"), "escape": ("auto", "none")}
        for name, known in words.items():
            value = getattr(self, name)
            if value not in known and (len(value) != 1 or value in "\r\n"):
                raise ValueError(
                    f"{name} must be one character or {' or '.join(known)}. Received: {value!r}"
                )
        if self.encoding != "auto":
            try:
                codecs.lookup(self.encoding)
            except LookupError:
                raise ValueError(
                    f"encoding must be auto or an encoding such as utf-8, utf-16 or gb18030. "
                    f"Received: {self.encoding!r}"
                ) from None
        return self


class SplitConfig(StrictConfig):
    """How pairs are divided into train, val and test.

    `by_query`, `by_pair` and `by_image` hash their key with the seed: adding rows moves no
    key. `by_time` cuts the log at two times, or by fractions of the rows at day boundaries.
    `given` reads the `split` column. Under `by_time` and `given` a pair clicked in several
    splits stays in the earliest of train, val, test and is dropped from the others.
    """

    policy: SplitPolicy = "by_query"
    train: float = Field(default=0.9, ge=0, le=1)
    val: float = Field(default=0.05, ge=0, le=1)
    test: float = Field(default=0.05, ge=0, le=1)
    seed: int = 0
    val_from: datetime.datetime | None = None  # by_time: first moment of val (UTC)
    test_from: datetime.datetime | None = None  # by_time: first moment of test (UTC)

    @model_validator(mode="after")
    def _check(self) -> SplitConfig:
        total = self.train + self.val + self.test
        if abs(total - 1) > 1e-6:
            raise ValueError(f"split fractions must add up to 1. Received: {total:g}")
        if (self.val_from is None) != (self.test_from is None):
            raise ValueError("val_from and test_from go together: give both or neither")
        if self.val_from and self.test_from and self.val_from > self.test_from:
            raise ValueError("val_from must not be later than test_from")
        return self


class PropensityConfig(StrictConfig):
    """Examination propensities by position, for the position-debiased weight.

    `none`: a click weighs 1. `given`: `values` by position (the last one holds for all
    positions beyond), or 1 / position ** eta. `estimated`: from the log, see propensity.py.
    """

    mode: Literal["none", "given", "estimated"] = "none"
    eta: float = Field(default=1.0, ge=0)
    values: tuple[float, ...] = ()
    clip: float = Field(default=10.0, ge=1)  # the largest weight of one click
    max_positions: int = Field(default=50, ge=1)

    @model_validator(mode="after")
    def _check(self) -> PropensityConfig:
        if any(not 0 < value <= 1 for value in self.values):
            raise ValueError(f"propensities must be in (0, 1]. Received: {list(self.values)}")
        return self


class CorrelationConfig(StrictConfig):
    """How `query/correlation`, a query's correlation with visible content, is decided.

    `estimated`: weak if the query has at least `min_clicks` clicks and a score below
    `threshold`, see correlation.py; strong otherwise. `strong`, `weak`: so for all queries.
    """

    mode: Literal["estimated", "strong", "weak"] = "estimated"
    threshold: float = Field(default=0.3, ge=0, le=1)
    min_clicks: int = Field(default=10, ge=2)  # fewer: called strong, whatever the score


class ImageConfig(StrictConfig):
    """Where images come from and how they are checked and re-encoded.

    `root` is the image folder (local or an object store URI); without it, rows must carry
    `image_uri` or `image_bytes`. `ids`: whether ids of a folder's files are their relative
    names with (`name`) or without (`stem`) the image extension; under `stem` a log may
    write either form.
    """

    root: str | None = None
    ids: Literal["stem", "name"] = "stem"
    shorter_side: int = Field(default=256, ge=8)
    quality: int = Field(default=90, ge=1, le=100)
    max_pixels: int = Field(default=50_000_000, ge=1)
    max_bytes: int = Field(default=50_000_000, ge=1)


class ChecksConfig(StrictConfig):
    """What finished Examples may hold; beyond a bound the run fails. Null: it only warns.

    Every check warns of the first case already. `max_cut_fraction` is judged where the texts
    are tokenised, at the start of a training.
    """

    max_flat_fraction: float | None = Field(default=0.5, ge=0, le=1)  # images of one colour
    max_duplicate_fraction: float | None = Field(default=0.5, ge=0, le=1)  # of images
    max_early_fraction: float | None = Field(default=0.01, ge=0, le=1)  # rows before 1990
    min_queries: int | None = Field(default=2, ge=1)  # distinct ones
    max_empty_splits: int | None = Field(default=None, ge=0)  # of val and test
    max_cut_fraction: float | None = Field(default=None, ge=0, le=1)  # texts over max_length


class ExampleGenConfig(StrictConfig):
    """Everything that decides what ClickExampleGen writes, apart from the input itself."""

    kind: Literal["clicks", "captions"] = "clicks"
    source_name: str = "clicks"
    format: LogFormat = "auto"
    csv: CsvConfig = CsvConfig()
    splits: SplitConfig = SplitConfig()
    propensity: PropensityConfig = PropensityConfig()
    images: ImageConfig = ImageConfig()
    correlation: CorrelationConfig = CorrelationConfig()
    checks: ChecksConfig = ChecksConfig()
    texts: tuple[str, ...] = ()  # files of texts without images, one a line
    shards: int = Field(default=8, ge=1, le=10_000)
    max_rejected_fraction: float = Field(default=0.01, ge=0, le=1)
