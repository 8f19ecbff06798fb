"""A run folder of `vlsearch train`: what is in it and how it comes there."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tfx_pipeline.config import ExperimentConfig
from tfx_pipeline.data.beam_options import resolve_beam_args
from tfx_pipeline.data.folder import DataFolder
from tfx_pipeline.fingerprint import fingerprint_code, fingerprint_text
from tfx_pipeline.release.image_tokenizer import fingerprint_image_tokenizers
from tfx_pipeline.run_lock import RunLock
from tfx_pipeline.storage.options import use_file_system_options
from vl_models.errors import UserError
from vl_models.training.config import RUN_FORMAT

if TYPE_CHECKING:
    from tfx_pipeline.evaluation.result import EvaluationResult
    from vl_models.models.base import VisionLanguageModel

_KEY_FILE = "training.key"  # of the data and settings that checkpoints and towers belong to
_FORMAT = (
    f"format {RUN_FORMAT}\n"  # how that file begins; before there was one, it held the key alone
)
_SETTINGS = ("vocabulary", "model", "input", "train")  # of an experiment, that make the towers
# What may differ when a training is continued.
_FREE_TO_CHANGE = {"steps", "epochs", "log_every", "checkpoint_every", "keep", "hooks"}


class TrainingRun:
    """One run folder: `experiment.yaml`, `data/`, `vocabulary.txt`, `training/`, `towers/`.

    Who writes it holds its `lock`, so that two trainings do not mix.

    Where the data are features that `vlsearch data extract-features` made, `composition/` holds
    the towers once more, on top of those that the features come from.

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
        self.composition = self.path / "composition"
        self.lock = RunLock(self.path)

    def prepare(self, config: ExperimentConfig, fresh: bool = False) -> None:
        """Make Examples and vocabulary, unless those of the same inputs are there.

        Args:
            config: the experiment.
            fresh: forget an earlier training of other data or settings.

        Raises:
            UserError: the folder holds a training of other data or settings, or of an earlier
                version.
        """
        from tfx_pipeline.data.feature_extraction import find_towers, fingerprint_towers

        known = self.key_file
        before = known.read_text(encoding="utf-8") if known.is_file() else ""
        if before and not before.startswith(_FORMAT) and not fresh:
            raise self._cannot_be_continued(
                "of another version of vlsearch, whose variables and settings have other names",
                "with this one",
            )
        if before and not fresh:
            # Said before the Examples in the folder are replaced.
            self._refuse_changes(config, _SETTINGS)
        self.path.mkdir(parents=True, exist_ok=True)
        examples_key = self.make_examples(config)
        settings = config.model_dump_json(
            include=dict.fromkeys(_SETTINGS, True),
            exclude={"train": _FREE_TO_CHANGE},
        )
        towers = ""
        if config.features is not None:
            towers = fingerprint_towers(find_towers(config.features.towers))
        towers += fingerprint_image_tokenizers(config.model)
        key = fingerprint_text(examples_key, settings, towers)
        if before not in ("", _FORMAT + key):
            if not fresh:
                self._refuse_changes(config, ("data", "features"))
                raise self._cannot_be_continued(
                    f"of other data or settings (what {config.data.folder} holds, or the version "
                    "of vlsearch, is not what it was)",
                    "with these",
                )
            known.unlink()
        if not known.is_file():
            for leftover in (self.training, self.towers, self.composition):
                shutil.rmtree(leftover, ignore_errors=True)
            if "token_ids" in config.model.inputs:
                self._write_vocabulary(config, examples_key)
            known.write_text(_FORMAT + key, encoding="utf-8")
        (self.path / "experiment.yaml").write_text(config.to_yaml(), encoding="utf-8")

    def _refuse_changes(self, config: ExperimentConfig, sections: Sequence[str]) -> None:
        """Raise UserError, with their names, if settings are not those that the run began with."""
        path = self.path / "experiment.yaml"
        try:
            before = ExperimentConfig.load(path)
        except UserError:  # lost, or of a version with other keys: their key tells enough
            return
        changes = [
            f"{key}: {old} → {new}"
            for key, (old, new) in before.differences(config, sections).items()
            if key.removeprefix("train.").partition(".")[0] not in _FREE_TO_CHANGE
        ]
        if changes:
            raise self._cannot_be_continued(
                f"of other data or settings ({'; '.join(changes)})", "with these"
            )

    def _cannot_be_continued(self, what: str, how: str) -> UserError:
        return UserError(
            f"{self.path} holds a training {what}, which cannot be continued {how}. Name another "
            "folder with --run, or give --fresh to forget that training."
        )

    def make_examples(self, config: ExperimentConfig) -> str:
        """Make the Examples in `data`, or take those of the same inputs that are there.

        Returns:
            A key of what they are made of.
        """
        folder = config.load_data_folder()
        _check_kind(folder, config)
        if folder.kind == "features":
            from tfx_pipeline.data.feature_examples import materialize_feature_examples

            return materialize_feature_examples(folder, self.data)
        if folder.kind == "answers":
            from tfx_pipeline.data.question_examples import materialize_question_examples

            beam_args = resolve_beam_args(config.beam_pipeline_args)
            return materialize_question_examples(folder, self.data, config.data, beam_args)
        from tfx_pipeline.data.examples import materialize_examples

        built = materialize_examples(
            folder,
            self.data,
            config.data.example_config(folder),
            config.data.span_window,
            resolve_beam_args(config.beam_pipeline_args),
        )
        return built.key

    def train(self, config: ExperimentConfig) -> VisionLanguageModel:
        """Train, or continue, and export the towers; returns the trained model."""
        from tfx_pipeline.data.feature_extraction import find_towers
        from tfx_pipeline.release.reranker import find_reranker
        from tfx_pipeline.training.towers import train_towers
        from vl_models.export import export_compositions

        below = config.load_data_folder().towers
        # What is missing is said before the training, not after.
        found = None if below is None else find_towers(below)
        if config.release.reranker is not None:
            find_reranker(config.release.reranker)
        model = train_towers(
            config,
            examples=self.data / "examples",
            vocabulary=self.path,
            run_dir=self.training,
            towers_dir=self.towers,
        )
        if found is not None:
            export_compositions(
                model, found, self.composition, experiment_yaml=config.to_yaml(without=("output",))
            )
        return model

    def evaluate(
        self,
        config: ExperimentConfig,
        out: Path,
        release: Path | None,
        data: str | None = None,
    ) -> EvaluationResult:
        """Measure this run's members, or those of a release.

        Args:
            config: of the run; its section ``evaluate`` counts.
            out: gets what is measured.
            release: root of a release whose members are measured instead.
            data: a data folder; that of the run by default. Examples are made of another one.

        Returns:
            What is written.
        """
        from serving.release import Release
        from tfx_pipeline.data.feature_set import FeatureSet
        from tfx_pipeline.data.items import find_items
        from tfx_pipeline.evaluation.evaluators import evaluate
        from tfx_pipeline.evaluation.write import write_evaluation
        from tfx_pipeline.release.reranker import released_members
        from tfx_pipeline.report.facts import ReportFacts
        from vl_models.training.logging import HISTORY

        if release is None:
            members = released_members(self.towers, config.release.reranker)
        else:
            versions = Release.load(release).models
            members = {name: release / name / str(version) for name, version in versions.items()}
        use_file_system_options(resolve_beam_args(config.beam_pipeline_args))
        folder = DataFolder.load(data or config.data.folder)
        if folder.kind == "features":
            features = FeatureSet.load(folder.feature_file)
            evaluation = evaluate(members, config.evaluate, features=features)
        elif folder.kind == "answers":
            prepared = self._evaluated_data(folder, config)
            questions = prepared / "examples"
            evaluation = evaluate(members, config.evaluate, questions_dir=questions)
        else:
            prepared = self._evaluated_data(folder, config)
            evaluation = evaluate(
                members,
                config.evaluate,
                gallery_dir=prepared / "gallery",
                relevance_path=prepared / "relevance" / "relevance.parquet",
                items_path=find_items(folder.root),
            )
        write_evaluation(
            evaluation,
            out,
            history_path=None if release is not None else self.training / HISTORY,
            config_yaml=config.to_yaml(),
            facts=ReportFacts(title=config.name, data=evaluation.counts),
        )
        return evaluation

    def _evaluated_data(self, folder: DataFolder, config: ExperimentConfig) -> Path:
        """Return where the Examples of a data folder are; made, if it is not that of the run."""
        if folder.root == DataFolder.root_of(config.data.folder):
            return self.data
        prepared = self.path / "evaluation_data"
        changed = {"data": config.data.model_copy(update={"folder": folder.root})}
        TrainingRun(self.path, prepared).make_examples(config.model_copy(update=changed))
        return prepared

    def load_experiment(self, overrides: Sequence[str]) -> ExperimentConfig:
        """Return the experiment that the run was started with.

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

        from tfx_pipeline.data.word_counts import learn_vocabulary
        from tfx_pipeline.training.sources import TRAIN, split_pattern
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
            arguments = resolve_beam_args(config.beam_pipeline_args)
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


def _check_kind(folder: DataFolder, config: ExperimentConfig) -> None:
    """Raise UserError if the towers do not read what the data folder holds."""
    reads = config.model.reads_features
    if (folder.kind == "answers") != config.model.learns_answers:
        tasks = "vqa, nlvr2 or snli_ve"
        raise UserError(
            f"{folder.root}/data.yaml: kind is {folder.kind}, and "
            + (
                f"no task of this experiment learns answers. Give model.tasks {tasks}."
                if folder.kind == "answers"
                else f"a task of this experiment learns answers. Take data of kind answers ({tasks}"
                " of `vlsearch data`), or take the task out."
            )
        )
    if folder.kind == "features" and not reads:
        raise UserError(
            f"{folder.root}/data.yaml: kind is features, but the towers of this experiment read "
            "pixels or words. Give model.image and model.text the kind features, as "
            "configs/acmr.yaml does, or take data of clicks or captions."
        )
    if folder.kind == "features" and config.features is not None:
        raise UserError(
            f"{folder.root}/data.yaml: kind is features already, so there is nothing that "
            f"features.towers ({config.features.towers}) could make features of. Take the key "
            "features out."
        )
    if folder.kind != "features" and reads and config.features is None:
        raise UserError(
            f"{folder.root}/data.yaml: kind is {folder.kind}, but the towers of this experiment "
            "read features. Name exported towers that make them (--set features.towers=FOLDER), "
            "or make features first, with `vlsearch data features` or extract-features."
        )
