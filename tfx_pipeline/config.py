"""The experiment configuration: one YAML file, validated, overridable, kept with the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pydantic
import yaml

from tfx_pipeline.data.config import (
    ExampleGenConfig,
    ImageConfig,
    PropensityConfig,
    SplitConfig,
)
from tfx_pipeline.data.folder import DataFolder
from tfx_pipeline.evaluation.config import EvaluationConfig
from vl_models.errors import UserError
from vl_models.models.base import ModelConfig
from vl_models.models.registry import model_config_from_dict
from vl_models.strict_config import StrictConfig, explain_validation_error
from vl_models.training.config import TrainConfig


class DataConfig(StrictConfig):
    """Which data, and how Examples are made of it; what is null is as data.yaml says."""

    folder: str  # a data folder: data.yaml, log/, images/
    span_window: pydantic.PositiveInt | None = None  # the newest N spans; all by default
    schema_file: str | None = None  # a curated schema; inferred from statistics by default
    shorter_side: pydantic.PositiveInt = 256  # images are stored with this side, in pixels
    quality: int = pydantic.Field(default=90, ge=1, le=100)  # of re-encoded JPEGs
    max_pixels: pydantic.PositiveInt = 50_000_000  # larger images are rejected, unread
    max_bytes: pydantic.PositiveInt = 50_000_000
    splits: SplitConfig | None = None
    propensity: PropensityConfig | None = None
    shards: pydantic.PositiveInt = 8
    max_rejected_fraction: float = pydantic.Field(default=0.01, ge=0, le=1)


class VocabularyConfig(StrictConfig):
    """The text tower's vocabulary: learned from the train split, or a given file."""

    size: pydantic.PositiveInt = 8000
    pretrained: str | None = None  # for example a BERT vocabulary


class InputOptions(StrictConfig):
    """How the trainer draws from the Examples."""

    text_draw_power: pydantic.NonNegativeFloat = 1.0  # queries by weight ** power; 0: evenly
    max_clicked_queries: pydantic.NonNegativeInt = 16  # known clicks beside the drawn pairs
    augment: bool = True  # random crops


class IndexConfig(StrictConfig):
    """The index over the gallery."""

    kind: Literal["flat", "hnsw"] = "flat"
    batch_size: pydantic.PositiveInt = 64


class ReleaseConfig(StrictConfig):
    """The check before a release."""

    validation_queries: pydantic.PositiveInt = 32


class ExperimentConfig(StrictConfig):
    """One experiment: everything between a data folder and a release."""

    name: str = pydantic.Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    output: str = "build/run"  # gets serving/, pipeline/, metrics.json, report.html
    data: DataConfig
    vocabulary: VocabularyConfig = VocabularyConfig()
    model: pydantic.SerializeAsAny[ModelConfig]  # of the system that `system` names
    input: InputOptions = InputOptions()
    train: TrainConfig
    devices: str = "auto"  # auto, cpu:N, gpu:N
    evaluate: EvaluationConfig = EvaluationConfig()
    index: IndexConfig = IndexConfig()
    release: ReleaseConfig = ReleaseConfig()
    beam_pipeline_args: list[str] | None = None  # None: one process on this machine

    @classmethod
    def from_dict(cls, values: Any, where: str) -> ExperimentConfig:
        """Validate; errors name ``where``, the key and the nearest valid key.

        Raises:
          UserError: the values are not a valid configuration.
        """
        if not isinstance(values, Mapping):
            raise UserError(
                f"{where}: an experiment is a mapping of keys to values. "
                f"Received: {type(values).__name__}."
            )
        if isinstance(values.get("model"), Mapping):
            model = model_config_from_dict(values["model"], f"{where}: model")
            values = {**values, "model": model}
        try:
            return cls.model_validate(values)
        except pydantic.ValidationError as error:
            raise UserError(explain_validation_error(error, where, cls)) from None

    @classmethod
    def from_yaml(cls, text: str, where: str = "experiment") -> ExperimentConfig:
        """Read a configuration that `to_yaml` wrote."""
        return cls.from_dict(_parse(text, where), where)

    @classmethod
    def load(cls, path: str | Path, overrides: Sequence[str] = ()) -> ExperimentConfig:
        """Read a YAML file and apply ``key.sub=value`` overrides; values are YAML, too.

        Raises:
          UserError: the file is missing, not YAML, or not a valid configuration.
        """
        try:
            text = Path(path).read_text(encoding="utf-8")
        except FileNotFoundError:
            raise UserError(
                f"{path}: no such configuration file. Experiments are in configs/, "
                "for example configs/emoji.yaml."
            ) from None
        values = _parse(text, str(path)) or {}
        for override in overrides:
            _apply_override(values, override)
        return cls.from_dict(values, str(path))

    def example_config(self, folder: DataFolder) -> ExampleGenConfig:
        """How Examples are made of a data folder."""
        data = self.data
        changes: dict[str, Any] = {
            "shards": data.shards,
            "max_rejected_fraction": data.max_rejected_fraction,
            "images": ImageConfig(
                root=folder.image_root,
                ids=folder.image_ids,
                shorter_side=data.shorter_side,
                quality=data.quality,
                max_pixels=data.max_pixels,
                max_bytes=data.max_bytes,
            ),
        }
        changes |= {"splits": data.splits} if data.splits is not None else {}
        changes |= {"propensity": data.propensity} if data.propensity is not None else {}
        return folder.example_config(**changes)

    def to_yaml(self, *, without: Sequence[str] = ()) -> str:
        """The complete configuration, defaults included, less some top-level keys."""
        values = self.model_dump(mode="json", exclude=set(without))
        return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


def _parse(text: str, where: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"{where}: not valid YAML: {error}") from None


def _apply_override(values: dict[str, Any], override: str) -> None:
    """Set one dotted key in nested dicts."""
    key, separator, text = override.partition("=")
    if not separator or not key:
        raise UserError(f"--set takes KEY.SUBKEY=VALUE. Received: {override!r}.")
    *parents, last = key.split(".")
    for parent in parents:
        inner = values.setdefault(parent, {})
        if not isinstance(inner, dict):
            raise UserError(
                f"--set {override}: '{parent}' is a single value and has no key '{last}'."
            )
        values = inner
    values[last] = _parse(text, f"--set {override}")
