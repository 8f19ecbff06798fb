"""The experiment configuration: one YAML file, validated, overridable, kept with the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pydantic
import yaml

from tfx_pipeline.data.config import ExampleGenConfig
from tfx_pipeline.evaluation.config import EvaluationConfig
from vl_models.errors import UserError
from vl_models.models.registry import ModelConfig
from vl_models.strict_config import StrictConfig, explain_validation_error
from vl_models.training.config import TrainConfig


class DataConfig(StrictConfig):
    """Which data, and how Examples are made of it."""

    folder: str  # a data folder: data.yaml, log/, images/
    span_window: pydantic.PositiveInt | None = None  # the newest N spans; all by default
    schema_file: str | None = None  # a curated schema; inferred from statistics by default
    examples: ExampleGenConfig = ExampleGenConfig()


class VocabularyConfig(StrictConfig):
    """The text tower's vocabulary: learned from the train split, or a given file."""

    size: pydantic.PositiveInt = 8000
    pretrained: str | None = None  # for example a BERT vocabulary


class IndexConfig(StrictConfig):
    """The index over the gallery."""

    kind: Literal["flat", "hnsw"] = "flat"
    batch_size: pydantic.PositiveInt = 64


class ReleaseConfig(StrictConfig):
    """The check before a release, and the warm-up that is shipped with it."""

    validation_queries: pydantic.PositiveInt = 32
    warmup_requests: pydantic.NonNegativeInt = 4


class ExperimentConfig(StrictConfig):
    """One experiment: everything between a data folder and a release."""

    name: str = pydantic.Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    output: str  # serving/, pipeline/, metrics.json and report.html go here
    data: DataConfig
    vocabulary: VocabularyConfig = VocabularyConfig()
    model: ModelConfig
    train: TrainConfig
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
        values = _parse(text, str(path))
        for override in overrides:
            _apply_override(values, override)
        return cls.from_dict(values, str(path))

    def to_yaml(self) -> str:
        """The complete configuration, defaults included."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


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
