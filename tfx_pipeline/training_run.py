"""A run folder of `vlsearch train`: what is in it and how it comes there."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tfx_pipeline.config import ExperimentConfig
from tfx_pipeline.data.folder import DataFolder
from tfx_pipeline.fingerprint import fingerprint_code, fingerprint_text
from vl_models.errors import UserError

if TYPE_CHECKING:
    from tfx_pipeline.data.examples import BuiltExamples
    from vl_models.models.base import VisionLanguageModel

_KEY_FILE = "training.key"  # of the data and settings that checkpoints and towers belong to
# What may differ when a training is continued.
_FREE_TO_CHANGE = {"steps", "epochs", "log_every", "checkpoint_every", "keep", "hooks"}


class TrainingRun:
    """One run folder: `experiment.yaml`, `data/`, `vocabulary.txt`, `training/`, `towers/`.

    Args:
      path: the folder; created when something is written.
      data: folder of the Examples and of vocabularies learned from them, which several runs may
        share; inside the run folder by default.
    """

    def __init__(self, path: str | Path, data: str | Path | None = None):
        self.path = Path(path)
        self.data = self.path / "data" if data is None else Path(data)
        self.vocabulary = self.path / "vocabulary.txt"
        self.key_file = self.path / _KEY_FILE
        self.training = self.path / "training"
        self.towers = self.path / "towers"

    def prepare(self, config: ExperimentConfig, fresh: bool = False) -> None:
        """Make Examples and vocabulary, unless those of the same inputs are there.

        Args:
          config: the experiment.
          fresh: forget an earlier training of other data or settings.

        Raises:
          UserError: the folder holds a training of other data or settings.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        built = self.make_examples(config)
        settings = config.model_dump_json(
            include={"vocabulary": True, "model": True, "input": True, "train": True},
            exclude={"train": _FREE_TO_CHANGE},
        )
        key = fingerprint_text(built.key, settings)
        known = self.key_file
        if known.is_file() and known.read_text(encoding="utf-8") != key:
            if not fresh:
                raise UserError(
                    f"{self.path} holds a training of other data or settings, which cannot be "
                    "continued with these. Name another folder with --run, or give --fresh to "
                    "forget that training."
                )
            known.unlink()
        if not known.is_file():
            for leftover in (self.training, self.towers):
                shutil.rmtree(leftover, ignore_errors=True)
            self._write_vocabulary(config, built.key)
            known.write_text(key, encoding="utf-8")
        (self.path / "experiment.yaml").write_text(config.to_yaml(), encoding="utf-8")

    def make_examples(self, config: ExperimentConfig) -> BuiltExamples:
        """Make the Examples in `data`, or take those of the same inputs that are there."""
        from tfx_pipeline.data.examples import materialize_examples

        folder = DataFolder.load(config.data.folder)
        return materialize_examples(
            folder,
            self.data,
            config.example_config(folder),
            config.data.span_window,
            config.beam_pipeline_args,
        )

    def train(self, config: ExperimentConfig) -> VisionLanguageModel:
        """Train, or continue, and export the towers; returns the trained model."""
        from tfx_pipeline.modules.training import train_towers
        from vl_models.text.factory import load_tokenizer

        tokenizer = load_tokenizer(self.path, config.model.max_length)
        return train_towers(
            config,
            examples=self.data / "examples",
            tokenizer=tokenizer,
            run_dir=self.training,
            towers_dir=self.towers,
        )

    def evaluate(self, config: ExperimentConfig, out: Path, release: Path | None) -> None:
        """Measure this run's towers, or those of a release, on this run's data."""
        from serving.release import Release
        from tfx_pipeline.evaluation.evaluate import evaluate_release
        from tfx_pipeline.evaluation.image_only import evaluate_images
        from tfx_pipeline.evaluation.write import write_evaluation
        from tfx_pipeline.report.facts import ReportFacts
        from vl_models.training.logging import HISTORY

        if release is None:
            towers = {path.name: path for path in self.towers.iterdir() if path.is_dir()}
        else:
            versions = Release.load(release).models
            towers = {name: release / name / str(version) for name, version in versions.items()}
        gallery = self.data / "gallery"
        if "text_tower" in towers:
            evaluation = evaluate_release(
                text_tower=towers["text_tower"],
                image_tower=towers["image_tower"],
                gallery_dir=gallery,
                relevance_path=self.data / "relevance" / "relevance.parquet",
                config=config.evaluate,
            )
        else:
            evaluation = evaluate_images(towers["image_tower"], gallery, config.evaluate)
        write_evaluation(
            evaluation,
            out,
            history_path=None if release is not None else self.training / HISTORY,
            config_yaml=config.to_yaml(),
            facts=ReportFacts(title=config.name, data=evaluation.counts),
        )

    def load_experiment(self, overrides: Sequence[str]) -> ExperimentConfig:
        """The experiment that the run was started with.

        Raises:
          UserError: the folder holds no finished run.
        """
        experiment = self.path / "experiment.yaml"
        if not experiment.is_file() or not self.towers.is_dir():
            raise UserError(
                f"{self.path} is not the folder of a finished training run: it lacks "
                "experiment.yaml or towers/. Make one with `vlsearch train --run`."
            )
        return ExperimentConfig.load(experiment, overrides)

    def _write_vocabulary(self, config: ExperimentConfig, examples_key: str) -> None:
        """The given vocabulary, or one learned from the Examples by the first run that needs it."""
        import apache_beam as beam
        from apache_beam.options.pipeline_options import PipelineOptions

        from tfx_pipeline.data.beam_options import default_beam_args
        from tfx_pipeline.data.word_counts import learn_vocabulary
        from tfx_pipeline.modules.sources import TRAIN, split_pattern
        from vl_models.text import factory
        from vl_models.text.vocabulary import VOCABULARY_FILE, write_vocabulary

        if (path := config.vocabulary.pretrained) is not None:
            length = config.model.max_length
            given = factory.pretrained_tokenizer(config.vocabulary.kind, path, length)
            factory.save_vocabulary(factory.vocabulary_files(given), self.path)
            return
        code = fingerprint_code("vl_models/text")
        templates = config.input.label_templates
        key = fingerprint_text(examples_key, str(config.vocabulary.size), *templates, code)
        learned = self.data / "vocabularies" / f"{key}.txt"
        if not learned.is_file():
            arguments = config.beam_pipeline_args or default_beam_args()
            tokens = learn_vocabulary(
                beam.Pipeline(options=PipelineOptions(arguments)),
                split_pattern(self.data / "examples", TRAIN),
                self.data,
                config.vocabulary.size,
                templates,
            )
            learned.parent.mkdir(exist_ok=True)
            write_vocabulary(tokens, learned)
        content = learned.read_bytes().decode("utf-8")
        factory.save_vocabulary({VOCABULARY_FILE: content}, self.path)
