"""The one place where an experiment becomes what a trainer takes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import tensorflow as tf

from tfx_pipeline.config import ExperimentConfig
from tfx_pipeline.release.warm_start import local_warm_starts
from tfx_pipeline.training.facts import read_data_facts
from tfx_pipeline.training.sources import train_sources, validation_source
from tfx_pipeline.training.transform import transform_functions
from vl_models.input.config import InputFacts, Sampling
from vl_models.input.source import RecordSource, TextFunction, TokenFunction, WeightFunction
from vl_models.models.base import VisionLanguageModel
from vl_models.models.registry import create_model
from vl_models.tasks.fusion_config import CONTINUATION
from vl_models.text.factory import load_tokenizer
from vl_models.text.subword_dropout import SubwordDropout
from vl_models.text.tokenizer import Tokenizer
from vl_models.text.wordpiece import WordPieceTokenizer
from vl_models.training import validation
from vl_models.training.config import TrainConfig
from vl_models.training.strategy import make_strategy
from vl_models.training.trainer import Hook, Trainer

_Tokens = TypeVar("_Tokens", TextFunction, TokenFunction)


@dataclass(frozen=True)
class TrainingSetup:
    """What one training is made of.

    Attributes:
        model_fn: makes the unbuilt model, complete with what the data decide.
        config: how to train.
        sources: of the train split.
        hooks: by name.
        strategy: over the devices.
        sampling: how a batch is made of several sources.
        facts: what the model reads, and of the data.
        tokenizer: None if the model reads no tokens.
    """

    model_fn: Callable[[], VisionLanguageModel]
    config: TrainConfig
    sources: list[RecordSource]
    hooks: Mapping[str, Hook]
    strategy: tf.distribute.Strategy
    sampling: Sampling
    facts: InputFacts
    tokenizer: Tokenizer | None

    def trainer(self, run_dir: Path) -> Trainer:
        """Return the trainer of a run folder, its model built and adapted to the data.

        Args:
            run_dir: checkpoints, history, TensorBoard.

        Raises:
            UserError: the configuration does not fit the model, the data or the devices.
        """
        trainer = Trainer(
            model_fn=self.model_fn,
            config=self.config,
            run_dir=run_dir,
            strategy=self.strategy,
            sources=self.sources,
            hooks=self.hooks,
            sampling=self.sampling,
        )
        if features := self.facts.data.features:
            statistics = {key: (found.mean, found.deviation) for key, found in features.items()}
            with self.strategy.scope():
                trainer.model.adapt(statistics)
        return trainer


def prepare_training(
    experiment: ExperimentConfig,
    examples: Path,
    vocabulary: Path,
    *,
    transform_graph: str | None = None,
) -> TrainingSetup:
    """Turn an experiment and its Examples into what a trainer takes.

    `vlsearch train`, the pipeline's Trainer and Tuner, and trials all come through here.

    Args:
        experiment: sections `model`, `input`, `train`, and `devices`.
        examples: folder with `Split-train/` and `Split-val/`, read for what the model leaves to the
            data.
        vocabulary: folder of the vocabulary's files; not looked at for a model without tokens.
        transform_graph: Transform's output, through which texts and click weights then go; else the
            tokeniser itself, and weights as they are.

    Raises:
        UserError: data or configuration that cannot be used.
    """
    strategy = make_strategy(experiment.devices)  # before anything else uses TensorFlow
    options, train = experiment.input, experiment.train
    tokenizer: Tokenizer | None = None
    text_fn: TextFunction | None = None
    weight_fn: WeightFunction | None = None
    if "token_ids" in experiment.model.inputs:
        tokenizer = load_tokenizer(vocabulary, experiment.model.max_length)
        text_fn = tokenizer.tokenize
        if transform_graph is not None:
            text_fn, weight_fn = transform_functions(transform_graph, tokenizer)
    token_fn = _subword_dropout(experiment, tokenizer)
    if tokenizer is not None and CONTINUATION in experiment.model.inputs:
        assert text_fn is not None
        text_fn = _with_continuation(text_fn, tokenizer)
        token_fn = None if token_fn is None else _with_continuation(token_fn, tokenizer)
    data = read_data_facts(experiment.model, options, examples, tokenizer)
    global_batch = train.global_batch(strategy.num_replicas_in_sync)
    data = dataclasses.replace(data, global_batch=global_batch)
    model = experiment.model.completed(data)
    facts = InputFacts(
        model.inputs, model.image_sizes, model.image_fit, model.served_crop_share, data
    )
    sources = train_sources(options, facts, model, examples, text_fn, weight_fn, token_fn)
    hooks: dict[str, Hook] = {}
    if any(hook.name == validation.NAME for hook in train.hooks):
        hooks[validation.NAME] = validation.Validation(
            validation_source(options, facts, examples, text_fn, weight_fn),
            global_batch,
            train.texts_per_image,
            options.query_source,
        )
    return TrainingSetup(
        model_fn=lambda: create_model(model),
        config=local_warm_starts(train),
        sources=sources,
        hooks=hooks,
        strategy=strategy,
        sampling=options.sampling,
        facts=facts,
        tokenizer=tokenizer,
    )


def _with_continuation(function: _Tokens, tokenizer: Tokenizer) -> _Tokens:
    """Let a function that makes or changes tokens also tell which ones continue a word."""

    def made(*arguments: Any) -> Mapping[str, tf.Tensor]:
        tokens = function(*arguments)
        return {**tokens, CONTINUATION: tokenizer.continuation_mask(tokens["token_ids"])}

    return made  # type: ignore[return-value]


def _subword_dropout(
    experiment: ExperimentConfig, tokenizer: Tokenizer | None
) -> TokenFunction | None:
    """Return what `vocabulary` says about tokens in training; None if they stay as they are."""
    vocabulary = experiment.vocabulary
    split, unknown = vocabulary.training_noise
    if not isinstance(tokenizer, WordPieceTokenizer) or not (split or unknown):
        return None
    return SubwordDropout(tokenizer, split, unknown)
