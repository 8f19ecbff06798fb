"""The pipeline: which components there are and what flows between them.

The same graph in every runner; it holds no Resolver and no custom driver.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import tensorflow_data_validation as tfdv
from tfx.components import ExampleValidator, SchemaGen, StatisticsGen, Tuner
from tfx.components.schema_gen.import_schema_gen.component import ImportSchemaGen
from tfx.dsl.components.base.base_node import BaseNode
from tfx.orchestration.data_types import RuntimeParameter
from tfx.proto import trainer_pb2

from serving.files import write_atomically
from tfx_pipeline.components.click_example_gen import ClickExampleGen
from tfx_pipeline.components.index_builder import IndexBuilder
from tfx_pipeline.components.index_pusher import IndexPusher
from tfx_pipeline.components.release_pusher import ReleasePusher
from tfx_pipeline.components.released_towers import ReleasedTowers
from tfx_pipeline.components.retrieval_evaluator import RetrievalEvaluator
from tfx_pipeline.components.serving_validator import ServingValidator
from tfx_pipeline.components.text_transform import TextTransform
from tfx_pipeline.components.tower_trainer import TowerTrainer
from tfx_pipeline.components.vocabulary_gen import VocabularyGen
from tfx_pipeline.config import PLACES
from tfx_pipeline.data.resolved import unseen
from tfx_pipeline.modules import preprocessing, training, tuning
from tfx_pipeline.release.warm_start import starts_from_bucket
from tfx_pipeline.storage.options import file_system_options
from tfx_pipeline.submission import Submission
from vl_models import features

# Statistics over image bytes would cost memory and tell nothing.
_TEXT_FEATURES = (
    features.IMAGE_ID,
    features.IMAGE_CLICKS_TOTAL,
    features.QUERY_TEXT,
    features.QUERY_CLICKS,
    features.QUERY_WEIGHT,
    features.QUERY_LANGUAGE,
    features.QUERY_CLICKS_TOTAL,
    features.QUERY_IMAGES,
    features.QUERY_CORRELATION,
    features.LABEL_ID,
    features.LABEL_TEXT,
    features.SOURCE_TYPE,
    features.SOURCE_NAME,
)

_AFTER_TRAINING = ("evaluate", "index", "release")


@dataclasses.dataclass(frozen=True)
class RunValues:
    """What may differ from run to run of one compiled pipeline; there they are its parameters.

    Attributes:
        run_name: goes into the release's lineage; may be "".
        data: the data folder.
        resolved: what the folder came down to, a `ResolvedData` as JSON, or `unseen`.
        steps: of training; 0 as the experiment says.
        thresholds: for a release, as JSON; "" as the experiment says.
        version: of the release; `NEXT_VERSION`.
        baseline: metrics to compare with as JSON, "" without any; `CURRENT`.
        lineage: what a release of the run is made of, as JSON.
    """

    run_name: str | RuntimeParameter
    data: str | RuntimeParameter
    resolved: str | RuntimeParameter
    steps: int | RuntimeParameter
    thresholds: str | RuntimeParameter
    version: int | RuntimeParameter
    baseline: str | RuntimeParameter
    lineage: str | RuntimeParameter

    @classmethod
    def of(cls, submission: Submission) -> RunValues:
        """Return the values of one submission."""
        data = submission.data
        return cls(
            run_name="",
            data=submission.config.data.folder,
            resolved=data.model_dump_json() if data is not None else unseen(submission.submitted),
            steps=0,
            thresholds="",
            version=submission.version,
            baseline=submission.baseline,
            lineage=submission.lineage,
        )


def build_components(submission: Submission, values: RunValues | None = None) -> Sequence[BaseNode]:
    """Make the components of one run: all of them, or those of an index of released towers.

    Args:
        submission: the experiment with its inputs, baseline and version settled.
        values: the submission's own by default; parameters where the pipeline is compiled.

    Returns:
        Components in an order in which they can run.
    """
    values = values or RunValues.of(submission)
    return _index_alone(submission, values) if submission.towers else _all(submission, values)


def _all(submission: Submission, values: RunValues) -> Sequence[BaseNode]:
    config = submission.config
    # A step gets the part of the configuration that it depends on: other parts may change
    # without making its result stale.
    model_experiment = config.to_yaml(without=("tune", *PLACES, *_AFTER_TRAINING))
    experiment = config.to_yaml(without=("tune", *PLACES))

    example_gen = _example_gen(submission, values)
    examples = example_gen.outputs["examples"]
    statistics = StatisticsGen(
        examples, stats_options=tfdv.StatsOptions(feature_allowlist=list(_TEXT_FEATURES))
    )
    if config.data.schema_file is None:
        schema = SchemaGen(
            statistics.outputs["statistics"],
            infer_feature_shape=False,
            exclude_splits=["val", "test"],  # they may be empty; the model learns from train
        )
    else:
        schema = ImportSchemaGen(_pinned_schema(config.data.schema_file, submission))
    validator = ExampleValidator(statistics.outputs["statistics"], schema.outputs["schema"])
    vocabulary = VocabularyGen(
        examples=examples,
        size=config.vocabulary.size,
        pretrained=config.vocabulary.pretrained or "",
        kind=config.vocabulary.kind,
        templates=json.dumps(config.input.label_templates, ensure_ascii=False),
        fingerprint=submission.vocabulary_fingerprint,
    )
    transform = TextTransform(
        examples=examples,
        schema=schema.outputs["schema"],
        vocabulary=vocabulary.outputs["vocabulary"],
        preprocessing_fn=f"{preprocessing.__name__}.preprocessing_fn",
        custom_config={"max_length": config.model.max_length, "code": submission.text_code},
    )
    tuners = _tuner(submission, example_gen, schema, transform)
    trainer = TowerTrainer(
        steps=values.steps,
        examples=examples,
        hyperparameters=tuners[0].outputs["best_hyperparameters"] if tuners else None,
        transform_graph=transform.outputs["transform_graph"],
        schema=schema.outputs["schema"],
        run_fn=f"{training.__name__}.run_fn",
        train_args=trainer_pb2.TrainArgs(splits=["train"]),
        eval_args=trainer_pb2.EvalArgs(splits=["val"]),
        custom_config={
            "experiment": model_experiment,
            "code": submission.training_code,
            "work_dir": str(submission.pipeline_root / "training"),
            **_bucket_options(submission),
        },
    )
    evaluator = RetrievalEvaluator(
        model=trainer.outputs["model"],
        model_run=trainer.outputs["model_run"],
        gallery=example_gen.outputs["gallery"],
        relevance=example_gen.outputs["relevance"],
        rejected=example_gen.outputs["rejected"],
        experiment=experiment,
        thresholds=values.thresholds,
        baseline=values.baseline,
        serving_root=str(submission.serving_root),
        code_fingerprint=submission.evaluation_code,
    )
    reranker = config.release.reranker or ""
    index_builder = _index_builder(submission, values, example_gen, trainer, reranker)
    serving_validator = _serving_validator(
        submission, example_gen, trainer, index_builder, reranker
    )
    pusher = ReleasePusher(
        model=trainer.outputs["model"],
        index=index_builder.outputs["index"],
        evaluation=evaluator.outputs["evaluation"],
        blessing=evaluator.outputs["blessing"],
        infra_blessing=serving_validator.outputs["infra_blessing"],
        serving_root=str(submission.serving_root),
        version=values.version,
        experiment=experiment,
        lineage=values.lineage,
        run_name=values.run_name,
        code_fingerprint=submission.serving_code,
        publish_to=config.release.publish_to or "",
        file_system_options=json.dumps(file_system_options(submission.beam_args)),
    )
    return [
        example_gen,
        statistics,
        schema,
        validator,
        vocabulary,
        transform,
        *tuners,
        trainer,
        evaluator,
        index_builder,
        serving_validator,
        pusher,
    ]


def _index_alone(submission: Submission, values: RunValues) -> Sequence[BaseNode]:
    """Another index of the current release's towers, and of its reranker: nothing is trained."""
    example_gen = _example_gen(submission, values)
    towers = ReleasedTowers(
        serving_root=str(submission.serving_root),
        towers=submission.towers,
        code_fingerprint=submission.serving_code,
    )
    index_builder = _index_builder(submission, values, example_gen, towers, reranker="")
    serving_validator = _serving_validator(
        submission, example_gen, towers, index_builder, reranker=""
    )
    pusher = IndexPusher(
        model=towers.outputs["model"],
        index=index_builder.outputs["index"],
        relevance=example_gen.outputs["relevance"],
        infra_blessing=serving_validator.outputs["infra_blessing"],
        serving_root=str(submission.serving_root),
        version=values.version,
        max_vanished_fraction=submission.config.index.max_vanished_fraction,
        lineage=values.lineage,
        run_name=values.run_name,
        code_fingerprint=submission.serving_code,
        publish_to=submission.config.release.publish_to or "",
        file_system_options=json.dumps(file_system_options(submission.beam_args)),
    )
    return [example_gen, towers, index_builder, serving_validator, pusher]


def _example_gen(submission: Submission, values: RunValues) -> BaseNode:
    return ClickExampleGen(
        data=values.data,
        options=submission.config.data.model_dump_json(),
        resolved=values.resolved,
        code_fingerprint=submission.data_code,
    )


def _index_builder(
    submission: Submission,
    values: RunValues,
    example_gen: BaseNode,
    towers: BaseNode,
    reranker: str,
) -> BaseNode:
    config = submission.config
    return IndexBuilder(
        gallery=example_gen.outputs["gallery"],
        relevance=example_gen.outputs["relevance"],
        model=towers.outputs["model"],
        data=values.data,
        code_fingerprint=submission.serving_code,
        kind=config.index.kind,
        reranker=reranker,
        batch_size=config.index.batch_size,
        serving_root=str(submission.serving_root),
        file_system_options=json.dumps(file_system_options(submission.beam_args)),
    )


def _serving_validator(
    submission: Submission,
    example_gen: BaseNode,
    towers: BaseNode,
    index_builder: BaseNode,
    reranker: str,
) -> BaseNode:
    return ServingValidator(
        model=towers.outputs["model"],
        index=index_builder.outputs["index"],
        gallery=example_gen.outputs["gallery"],
        relevance=example_gen.outputs["relevance"],
        queries=submission.config.release.validation_queries,
        reranker=reranker,
        code_fingerprint=submission.serving_code,
    )


def _tuner(
    submission: Submission, example_gen: BaseNode, schema: BaseNode, transform: BaseNode
) -> list[BaseNode]:
    """Return the Tuner, if the experiment asks for one."""
    config = submission.config
    if config.tune is None or not config.tune.enabled:
        return []
    tuner = Tuner(
        examples=example_gen.outputs["examples"],
        schema=schema.outputs["schema"],
        transform_graph=transform.outputs["transform_graph"],
        tuner_fn=f"{tuning.__name__}.tuner_fn",
        train_args=trainer_pb2.TrainArgs(splits=["train"]),
        eval_args=trainer_pb2.EvalArgs(splits=["val"]),
        custom_config={
            "experiment": config.to_yaml(without=(*PLACES, "index", "release")),
            "code": submission.training_code + submission.tuning_code,
            "work_dir": str(submission.pipeline_root / "tuning"),
            **_bucket_options(submission),
        },
    )
    return [tuner]


def _bucket_options(submission: Submission) -> dict[str, list[str]]:
    """Where the bucket is that a training starts from; nothing, and no other key, without one."""
    if not starts_from_bucket(submission.config.train):
        return {}
    return {"file_system_options": file_system_options(submission.beam_args)}


def _pinned_schema(path: str, submission: Submission) -> str:
    """Return a copy of a curated schema under a name made of its content: TFX caches by name."""
    if not submission.schema_fingerprint:  # not to be seen from here
        return path
    folder = submission.pipeline_root / "schema" / submission.schema_fingerprint
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / "schema.pbtxt"
    write_atomically(target, Path(path).read_text(encoding="utf-8"))
    return str(target)
