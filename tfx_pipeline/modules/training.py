"""What the Trainer component calls, and what `vlsearch train` shares with it."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path
from typing import Any

import tensorflow as tf

from tfx_pipeline.config import ExperimentConfig
from tfx_pipeline.data.feature_extraction import extract_examples, find_towers
from tfx_pipeline.fingerprint import fingerprint_text
from tfx_pipeline.modules.data_facts import read_data_facts
from tfx_pipeline.modules.sources import (
    TRAIN,
    query_source,
    split_pattern,
    train_sources,
    validation_source,
)
from tfx_pipeline.release.warm_start import local_warm_starts, pin_warm_starts
from tfx_pipeline.release.warmup import write_warmup_requests
from tfx_pipeline.release.zero_shot_classes import resolve_classes
from tfx_pipeline.storage.options import use_file_system_options
from tfx_pipeline.tuning.space import from_values, with_values
from vl_models import features
from vl_models.errors import Interrupted
from vl_models.export import export_compositions, export_members
from vl_models.input.source import TextFunction, WeightFunction
from vl_models.models.base import VisionLanguageModel
from vl_models.models.registry import create_model
from vl_models.text.factory import load_tokenizer
from vl_models.text.tokenizer import Tokenizer
from vl_models.training import validation
from vl_models.training.logging import HISTORY
from vl_models.training.strategy import make_strategy
from vl_models.training.trainer import Hook, Trainer
from vl_models.training.workers import from_chief, worker_place
from vl_models.zero_shot import build_classifier


def run_fn(fn_args: Any) -> None:
    """Train on the Examples through the Transform graph and export the towers.

    The work folder is named by what the run depends on, and outlives the component's own
    output folder: a run that was killed is continued from its last checkpoint.

    Args:
      fn_args: TFX's `FnArgs`; `custom_config` holds the experiment and the work folder.
    """
    experiment = fn_args.custom_config["experiment"]
    config = ExperimentConfig.from_yaml(experiment)
    if fn_args.hyperparameters is not None:  # the Tuner's best
        values = from_values(fn_args.hyperparameters["values"])
        config = with_values(config, values, "The Tuner's hyperparameters")
        experiment = config.to_yaml()
    if steps := fn_args.custom_config["steps"]:  # those of this run
        length = {"train.steps": steps, "train.epochs": None}
        config = with_values(config, length, f"The run's parameter steps={steps}")
        experiment = config.to_yaml()
    use_file_system_options(fn_args.custom_config.get("file_system_options"))
    graph = fn_args.transform_graph_path
    tokenizer, text_fn, weight_fn = None, None, None
    if "token_ids" in config.model.inputs:
        tokenizer = load_tokenizer(graph, config.model.max_length)
        text_fn, weight_fn = transform_functions(graph, tokenizer)
    # Examples live under …/Split-*/*; their folder names the artifact.
    examples = Path(fn_args.train_files[0]).parent.parent
    key = fingerprint_text(experiment, fn_args.custom_config["code"], str(examples), graph)
    run_dir = Path(fn_args.custom_config["work_dir"], key)
    train_towers(
        config,
        examples=examples,
        tokenizer=tokenizer,
        run_dir=run_dir,
        towers_dir=Path(fn_args.serving_model_dir),
        text_fn=text_fn,
        weight_fn=weight_fn,
    )
    shutil.copytree(run_dir / "tensorboard", Path(fn_args.model_run_dir), dirs_exist_ok=True)
    shutil.copyfile(run_dir / HISTORY, Path(fn_args.model_run_dir, HISTORY))
    shutil.rmtree(run_dir)


def transform_functions(
    graph_path: str, tokenizer: Tokenizer
) -> tuple[TextFunction, WeightFunction]:
    """The Transform graph as two functions over drawn texts: token ids, and click weights.

    Args:
      graph_path: Transform's output.
      tokenizer: the one that the graph was made with; it tells tokens from padding.

    Returns:
      ``texts [N] -> {"token_ids": int32 [N, L], "text_mask": bool [N, L]}`` and
      ``weights [N] -> float32 [N]``; TFT prunes its graph to what is fed.
    """
    import tensorflow_transform as tft

    from tfx_pipeline.modules.preprocessing import QUERY_WEIGHT, TOKEN_IDS

    layer = tft.TFTransformOutput(graph_path).transform_features_layer()

    def apply(feature: str, values: tf.Tensor, output: str) -> tf.Tensor:
        rows = tf.RaggedTensor.from_uniform_row_length(values, 1)
        return layer({feature: rows.to_sparse()})[output].flat_values

    def text_fn(texts: tf.Tensor) -> dict[str, tf.Tensor]:
        token_ids = tf.cast(apply(features.QUERY_TEXT, texts, TOKEN_IDS), tf.int32)
        token_ids = tf.reshape(token_ids, [-1, tokenizer.max_length])
        return {"token_ids": token_ids, "text_mask": tokenizer.text_mask(token_ids)}

    def weight_fn(weights: tf.Tensor) -> tf.Tensor:
        return apply(features.QUERY_WEIGHT, weights, QUERY_WEIGHT)

    return text_fn, weight_fn


def train_towers(
    config: ExperimentConfig,
    *,
    examples: Path,
    tokenizer: Tokenizer | None,
    run_dir: Path,
    towers_dir: Path,
    text_fn: TextFunction | None = None,
    weight_fn: WeightFunction | None = None,
) -> VisionLanguageModel:
    """Train, or continue training, and export.

    Args:
      config: the experiment.
      examples: folder of the Examples, with `Split-train/` and `Split-val/`. With the
        configuration's `features` they hold images and texts, of which features are made first.
      tokenizer: goes into the text tower; None for one of features.
      run_dir: checkpoints, history, TensorBoard.
      towers_dir: gets `text_tower/` and `image_tower/`.
      text_fn: tokenises drawn texts; the tokeniser itself by default.
      weight_fn: rescales click weights; unchanged by default.

    Returns:
      The trained model.

    Raises:
      Interrupted: after SIGTERM or SIGINT, when the checkpoint is written.
      UserError: data or configuration that cannot be used.
    """
    strategy = make_strategy(config.devices)
    config = pin_warm_starts(config)
    raw_examples, towers_below = examples, None
    if config.features is not None:
        towers_below = find_towers(config.features.towers)
        examples = run_dir / "features"
        if worker_place(strategy).is_chief:
            extract_examples(raw_examples, towers_below, examples)
        from_chief(strategy, 0)  # nobody reads before all is written
    facts = read_data_facts(config, examples, tokenizer)
    if text_fn is None and tokenizer is not None:
        text_fn = tokenizer.tokenize
    data = (config.input, facts.model, examples, text_fn, weight_fn, facts.labels)
    hooks: dict[str, Hook] = {}
    if any(hook.name == validation.NAME for hook in config.train.hooks):
        hooks[validation.NAME] = validation.Validation(
            validation_source(*data),
            config.train.global_batch(strategy.num_replicas_in_sync),
            config.train.texts_per_image,
            query_source(config.input),
        )
    trainer = Trainer(
        model_fn=lambda: create_model(facts.model),
        config=local_warm_starts(config.train),
        run_dir=run_dir,
        strategy=strategy,
        sources=train_sources(*data),
        hooks=hooks,
        sampling=config.input.sampling,
    )
    if facts.statistics:
        with strategy.scope():
            trainer.model.adapt(facts.statistics)  # type: ignore[attr-defined]
    classes = resolve_classes(config.zero_shot, trainer.model, split_pattern(examples, TRAIN))
    result = trainer.fit()
    if result.interrupted:
        from_chief(strategy, result.step)  # the checkpoint is written before anyone leaves
        raise Interrupted(
            f"{result.interrupted} at step {result.step} of {trainer.total_steps}. The checkpoint "
            "is written; run the same command again to continue."
        )
    if worker_place(strategy).is_chief:
        experiment = config.to_yaml(without=("output",))
        if towers_below is not None:
            export_compositions(trainer.model, towers_below, towers_dir, experiment_yaml=experiment)
        else:
            export_members(
                trainer.model,
                tokenizer,
                towers_dir,
                experiment_yaml=experiment,
                zero_shot=build_classifier(trainer.model, tokenizer, config.zero_shot, classes)
                if config.zero_shot is not None and classes and tokenizer is not None
                else None,
            )
        write_warmup_requests(towers_dir, split_pattern(raw_examples, TRAIN))
    from_chief(strategy, result.step)  # a worker that left before the end would look like a crash
    logging.info("Trained %d steps; towers in %s", result.step, os.fspath(towers_dir))
    return trainer.model
