"""Training, or continuing it, and export: what `vlsearch train` and the pipeline share."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from tfx_pipeline.config import ExperimentConfig
from tfx_pipeline.data.feature_extraction import extract_examples, find_towers
from tfx_pipeline.release.warm_start import pin_warm_starts
from tfx_pipeline.release.warmup import write_warmup_requests
from tfx_pipeline.release.zero_shot_classes import resolve_classes
from tfx_pipeline.training.setup import prepare_training
from tfx_pipeline.training.sources import TRAIN, split_pattern
from tfx_pipeline.training.text_lengths import check_text_lengths
from vl_models.errors import Interrupted
from vl_models.export import export_compositions, export_members
from vl_models.models.base import VisionLanguageModel
from vl_models.training.strategy import make_strategy
from vl_models.training.workers import from_chief, worker_place
from vl_models.zero_shot import build_classifier


def train_towers(
    experiment: ExperimentConfig,
    *,
    examples: Path,
    vocabulary: Path,
    run_dir: Path,
    towers_dir: Path,
    transform_graph: str | None = None,
) -> VisionLanguageModel:
    """Train, or continue training, and export.

    Args:
        experiment: what to train.
        examples: folder of the Examples, with `Split-train/` and `Split-val/`. With the
            experiment's `features` they hold images and texts, of which features are made first.
        vocabulary: see `prepare_training`.
        run_dir: checkpoints, history, TensorBoard.
        towers_dir: gets a folder for each member, and `weights/`.
        transform_graph: see `prepare_training`.

    Returns:
        The trained model.

    Raises:
        Interrupted: after SIGTERM or SIGINT, when the checkpoint is written.
        UserError: data or configuration that cannot be used.
    """
    experiment = pin_warm_starts(experiment)
    raw_examples, towers_below = examples, None
    if experiment.features is not None:
        strategy = make_strategy(experiment.devices)
        towers_below = find_towers(experiment.features.towers)
        examples = run_dir / "features"
        if worker_place(strategy).is_chief:
            extract_examples(raw_examples, towers_below, examples)
        from_chief(strategy, 0)  # nobody reads before all is written
    setup = prepare_training(experiment, examples, vocabulary, transform_graph=transform_graph)
    if setup.tokenizer is not None and worker_place(setup.strategy).is_chief:
        limit = experiment.data.checks.max_cut_fraction
        check_text_lengths(setup.tokenizer, examples, limit)
    trainer = setup.trainer(run_dir)
    classes = resolve_classes(experiment.zero_shot, trainer.model, split_pattern(examples, TRAIN))
    result = trainer.fit()
    if result.interrupted:
        # The checkpoint is written before anyone leaves.
        from_chief(setup.strategy, result.step)
        raise Interrupted(
            f"{result.interrupted} at step {result.step} of {trainer.total_steps}. The checkpoint "
            "is written; run the same command again to continue."
        )
    if worker_place(setup.strategy).is_chief:
        asset = experiment.to_yaml(without=("output",))
        if towers_below is not None:
            export_compositions(trainer.model, towers_below, towers_dir, experiment_yaml=asset)
        else:
            tokenizer, zero_shot = setup.tokenizer, None
            if experiment.zero_shot is not None and classes and tokenizer is not None:
                zero_shot = build_classifier(
                    trainer.model, tokenizer, experiment.zero_shot, classes
                )
            export_members(
                trainer.model, tokenizer, towers_dir, experiment_yaml=asset, zero_shot=zero_shot
            )
        write_warmup_requests(towers_dir, split_pattern(raw_examples, TRAIN))
    # A worker that left before the end would look like a crash.
    from_chief(setup.strategy, result.step)
    logging.info("Trained %d steps; towers in %s", result.step, os.fspath(towers_dir))
    return trainer.model
