"""The experiment configuration: one YAML file, validated, overridable, kept with the run."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pydantic
import yaml

from tfx_pipeline.data.beam_options import resolve_beam_args
from tfx_pipeline.data.folder import DataFolder
from tfx_pipeline.data.options import DataConfig
from tfx_pipeline.evaluation.config import EvaluationConfig, RerankOrder
from tfx_pipeline.experiment_file import parse, read_experiment, set_key
from tfx_pipeline.kubeflow_config import KubeflowConfig
from tfx_pipeline.storage.metadata import check_metadata_url
from tfx_pipeline.storage.options import check_no_secrets, use_file_system_options
from tfx_pipeline.storage.uris import check_local, check_place, check_weights_place, is_uri
from tfx_pipeline.tuning.config import TuneConfig
from vl_models.choices import TokenizerKind
from vl_models.errors import UserError
from vl_models.input.config import InputConfig
from vl_models.models.base_config import ModelConfig
from vl_models.models.registry import model_config_from_dict
from vl_models.strict_config import StrictConfig, explain_validation_error
from vl_models.training.config import TrainConfig
from vl_models.zero_shot_config import ZeroShotConfig


class VocabularyConfig(StrictConfig):
    """The text tower's vocabulary: learned from the train split, or a given file.

    ``subword_dropout`` and ``unknown_words`` are probabilities that a token is split further, and
    that a word is unknown, in training: else pieces that the words of new texts are made of would
    never be trained. By default 0.1 and 0.01 for a learned vocabulary, and none for a given one.
    """

    kind: TokenizerKind = "wordpiece"  # or clip_bpe, CLIP's
    size: pydantic.PositiveInt = 8000  # upper bound of a learned one
    pretrained: str | None = None  # a BERT vocabulary, or CLIP's merges
    subword_dropout: float | None = pydantic.Field(default=None, ge=0, le=1)
    unknown_words: float | None = pydantic.Field(default=None, ge=0, le=1)

    @pydantic.model_validator(mode="after")
    def _only_wordpiece_is_learned(self) -> VocabularyConfig:
        if self.kind == "clip_bpe" and self.pretrained is None:
            raise ValueError(
                "kind clip_bpe needs pretrained: CLIP's merges (bpe_simple_vocab_16e6.txt.gz), or "
                "a folder with vocab.json and merges.txt; only a wordpiece vocabulary is learned"
            )
        return self

    @pydantic.model_validator(mode="after")
    def _only_words_are_split(self) -> VocabularyConfig:
        if self.kind == "clip_bpe" and any(self.training_noise):
            raise ValueError("subword_dropout and unknown_words are for kind wordpiece")
        return self

    @property
    def training_noise(self) -> tuple[float, float]:
        """Probabilities that a token is split further, and that a word is unknown."""
        usual = (0.1, 0.01) if self.pretrained is None else (0.0, 0.0)
        given = (self.subword_dropout, self.unknown_words)
        return tuple(u if g is None else g for g, u in zip(given, usual))  # type: ignore[return-value]


class FeaturesConfig(StrictConfig):
    """Where a model of features takes them from, if the data are images and texts.

    ``towers`` names exported towers: a release root, a run folder of `vlsearch train`, or a folder
    that holds image_tower/ and text_tower/. Their embeddings are what the model reads, and the
    towers that training exports are both in one: from images and texts.
    """

    towers: str


class IndexConfig(StrictConfig):
    """The index over the gallery."""

    kind: Literal["flat", "hnsw", "binary"] = "flat"
    batch_size: pydantic.PositiveInt = 64
    # With the towers as they are: share of the images that may be gone since the last release.
    max_vanished_fraction: float = pydantic.Field(default=0.2, ge=0, le=1)


class ReleasedRerankConfig(StrictConfig):
    """How searches of the release use its reranker."""

    order: RerankOrder = "score"  # or sum: cosine + weight · score
    weight: pydantic.FiniteFloat = 1.0
    candidates: pydantic.PositiveInt = 32  # first images of the towers that are scored


class ReleaseConfig(StrictConfig):
    """The check before a release, and what is released beside the run's own members.

    ``reranker`` names one of another run: a run folder of `vlsearch train`, a release root, or a
    folder that holds reranker/. ``rerank`` is how it is used, by default as it was evaluated.
    """

    reranker: str | None = None
    rerank: ReleasedRerankConfig | None = None
    validation_queries: pydantic.PositiveInt = 32
    publish_to: str | None = None  # s3:// or gs://: releases are copied there, too

    @pydantic.field_validator("publish_to")
    @classmethod
    def _is_a_bucket(cls, place: str | None) -> str | None:
        if place is not None and not is_uri(place):
            raise ValueError(
                "publish_to is a folder in a bucket, such as s3://bucket/serving; releases are "
                "on the local disk anyway, in serving/ of the output folder"
            )
        return None if place is None else check_place(place)


# Keys that say where a run happens, not what comes out: no step's result depends on them.
PLACES = ("output", "beam_pipeline_args", "metadata", "kubeflow", "release.publish_to")


class ExperimentConfig(StrictConfig):
    """One experiment: everything between a data folder and a release."""

    name: str
    output: str = "build/run"  # gets serving/, pipeline/, metrics.json, report.html
    data: DataConfig
    vocabulary: VocabularyConfig = VocabularyConfig()
    model: pydantic.SerializeAsAny[ModelConfig]  # of the system that `system` names
    features: FeaturesConfig | None = None
    input: InputConfig = InputConfig()
    train: TrainConfig
    devices: str = "auto"  # auto, cpu:N, gpu:N
    zero_shot: ZeroShotConfig | None = ZeroShotConfig()  # absent where the data has no labels
    evaluate: EvaluationConfig = EvaluationConfig()
    index: IndexConfig = IndexConfig()
    release: ReleaseConfig = ReleaseConfig()
    tune: TuneConfig | None = None  # a search over keys of this experiment
    beam_pipeline_args: list[str] | None = None  # and those of the environment; see docs/beam.md
    kubeflow: KubeflowConfig = KubeflowConfig()  # only for runs on Kubeflow Pipelines
    metadata: str | None = None  # postgresql://USER@HOST:PORT/DATABASE; None: SQLite in output

    @pydantic.field_validator("name")
    @classmethod
    def _check_name(cls, name: str) -> str:
        if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", name):
            raise ValueError(
                "Input should be small letters from a to z, digits, hyphens and underscores, the "
                "first a letter or a digit, such as emoji_v2"
            )
        return name

    @pydantic.field_validator("output")
    @classmethod
    def _output_is_local(cls, place: str) -> str:
        check_local(
            place, "Name a folder there; release.publish_to copies each release to a bucket."
        )
        check_weights_place(place)
        return place

    @pydantic.model_validator(mode="after")
    def _features_are_read(self) -> ExperimentConfig:
        if self.features is not None and not self.model.reads_features:
            raise ValueError(
                "features: the model reads no features; give model.image and model.text the kind "
                "features, or take the key features out"
            )
        return self

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
        # Here, because an error of the validation would repeat the secret.
        if isinstance(url := values.get("metadata"), str):
            check_metadata_url(url, f"{where}: metadata")
        if isinstance(arguments := values.get("beam_pipeline_args"), list):
            check_no_secrets(arguments)
        if isinstance(values.get("model"), Mapping):
            model = model_config_from_dict(values["model"], f"{where}: model")
            values = {**values, "model": model}
        try:
            config = cls.model_validate(values)
        except pydantic.ValidationError as error:
            raise UserError(explain_validation_error(error, where, cls)) from None
        if config.tune is not None:
            from tfx_pipeline.tuning.space import check_space

            check_space(config)
        return config

    @classmethod
    def from_yaml(cls, text: str, where: str = "experiment") -> ExperimentConfig:
        """Read a configuration that `to_yaml` wrote."""
        return cls.from_dict(parse(text, where), where)

    @classmethod
    def load(cls, path: str | Path, overrides: Sequence[str] = ()) -> ExperimentConfig:
        """Read a YAML file and apply ``key.sub=value`` overrides; values are YAML, too.

        Raises:
            UserError: the file is missing, not YAML, or not a valid configuration.
        """
        return cls.from_dict(read_experiment(path, overrides), str(path))

    def with_values(self, values: Mapping[str, Any], where: str = "tune") -> ExperimentConfig:
        """The experiment with other values of some dotted keys, and without its section `tune`.

        Args:
            values: key, such as ``train.stages.0.steps``, → value.
            where: what sets them, for error messages.

        Raises:
            UserError: an unknown key (names the nearest) or values that do not fit.
        """
        content = self.model_dump(mode="json")
        content["tune"] = None
        for key, value in values.items():
            set_key(content, key, value)
        return ExperimentConfig.from_dict(content, where)

    def load_data_folder(self) -> DataFolder:
        """Return the data folder; Beam's file systems get the options that this experiment names.

        Raises:
            UserError: it cannot be read, or `beam_pipeline_args` holds credentials.
        """
        # What is wrong with a local folder is said before Beam is imported.
        local = None if is_uri(self.data.folder) else DataFolder.load(self.data.folder)
        use_file_system_options(resolve_beam_args(self.beam_pipeline_args))
        return local or DataFolder.load(self.data.folder)

    def to_yaml(self, *, without: Sequence[str] = ()) -> str:
        """Return the complete configuration, defaults included, less some keys, such as a.b."""
        values = self.model_dump(mode="json", exclude=excluded(without))
        return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)

    def differences(
        self, other: ExperimentConfig, sections: Sequence[str]
    ) -> dict[str, tuple[str, str]]:
        """Return the keys with other values: dotted, with both values as JSON, old one first."""
        own, others = (
            _flat(config.model_dump(mode="json", include=set(sections))) for config in (self, other)
        )
        return {
            key: (own.get(key, "null"), others.get(key, "null"))
            for key in dict.fromkeys([*own, *others])
            if own.get(key, "null") != others.get(key, "null")
        }


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Values as JSON by dotted keys; lists count as one value."""
    found: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            found |= _flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = json.dumps(value, ensure_ascii=False)
    return found


def excluded(keys: Iterable[str]) -> dict[str, Any]:
    """Dotted keys in the form in which pydantic leaves them out."""
    result: dict[str, Any] = {}
    for key in keys:
        section, _, rest = key.partition(".")
        if not rest:
            result[section] = True
        elif result.get(section) is not True:
            result.setdefault(section, set()).add(rest)
    return result
