"""A run folder of `vlsearch train`: what is in it and how it comes there."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from tfx_pipeline.config import ExperimentConfig
from tfx_pipeline.data.folder import DataFolder
from tfx_pipeline.fingerprint import fingerprint_text
from vl_models.errors import UserError

_KEY_FILE = "training.key"  # of the data and settings that checkpoints and towers belong to
# What may differ when a training is continued.
_FREE_TO_CHANGE = {"steps", "epochs", "log_every", "checkpoint_every", "keep", "hooks"}


class TrainingRun:
    """One run folder: `experiment.yaml`, `data/`, `vocabulary.txt`, `training/`, `towers/`.

    Args:
      path: the folder; created when something is written.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.data = self.path / "data"
        self.vocabulary = self.path / "vocabulary.txt"
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
        from tfx_pipeline.data.examples import materialize_examples

        folder = DataFolder.load(config.data.folder)
        self.path.mkdir(parents=True, exist_ok=True)
        built = materialize_examples(
            folder,
            self.data,
            config.example_config(folder),
            config.data.span_window,
            config.beam_pipeline_args,
        )
        settings = config.model_dump_json(
            include={"vocabulary": True, "model": True, "input": True, "train": True},
            exclude={"train": _FREE_TO_CHANGE},
        )
        key = fingerprint_text(built.key, settings)
        known = self.path / _KEY_FILE
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
            self._write_vocabulary(config)
            known.write_text(key, encoding="utf-8")
        (self.path / "experiment.yaml").write_text(config.to_yaml(), encoding="utf-8")

    def train(self, config: ExperimentConfig) -> None:
        """Train, or continue, and export the towers."""
        from tfx_pipeline.modules.training import train_towers
        from vl_models.text.vocabulary import read_vocabulary
        from vl_models.text.wordpiece import WordPieceTokenizer

        tokenizer = WordPieceTokenizer(read_vocabulary(self.vocabulary), config.model.max_length)
        train_towers(
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
        from tfx_pipeline.evaluation.write import write_evaluation
        from tfx_pipeline.report.facts import ReportFacts
        from vl_models.training.logging import HISTORY

        if release is None:
            towers = {name: self.towers / name for name in ("text_tower", "image_tower")}
        else:
            versions = Release.load(release).models
            towers = {name: release / name / str(version) for name, version in versions.items()}
        evaluation = evaluate_release(
            text_tower=towers["text_tower"],
            image_tower=towers["image_tower"],
            gallery_dir=self.data / "gallery",
            relevance_path=self.data / "relevance" / "relevance.parquet",
            config=config.evaluate,
        )
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

    def _write_vocabulary(self, config: ExperimentConfig) -> None:
        import apache_beam as beam
        from apache_beam.options.pipeline_options import PipelineOptions

        from tfx_pipeline.data.beam_options import default_beam_args
        from tfx_pipeline.data.word_counts import learn_vocabulary
        from tfx_pipeline.modules.training import TRAIN, split_pattern
        from vl_models.text.vocabulary import read_vocabulary, write_vocabulary

        if config.vocabulary.pretrained is not None:
            tokens = read_vocabulary(config.vocabulary.pretrained)
        else:
            arguments = config.beam_pipeline_args or default_beam_args()
            tokens = learn_vocabulary(
                beam.Pipeline(options=PipelineOptions(arguments)),
                split_pattern(self.data / "examples", TRAIN),
                self.data,
                config.vocabulary.size,
            )
        write_vocabulary(tokens, self.vocabulary)
