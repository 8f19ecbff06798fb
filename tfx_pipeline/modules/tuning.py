"""What the Tuner component calls."""

from __future__ import annotations

import functools
import shutil
from pathlib import Path
from typing import Any

import keras
from tfx.components.tuner.component import TunerFnResult

from serving.release import model_folders
from tfx_pipeline.config import ExperimentConfig
from tfx_pipeline.evaluation.evaluators import evaluate
from tfx_pipeline.fingerprint import fingerprint_text
from tfx_pipeline.storage.options import use_file_system_options
from tfx_pipeline.training.towers import train_towers
from tfx_pipeline.tuning.examples_data import write_evaluation_data
from tfx_pipeline.tuning.tuner import ExperimentTuner


def tuner_fn(fn_args: Any) -> TunerFnResult:
    """The search that the experiment's section `tune` describes, over the pipeline's Examples.

    A trial trains through the Transform graph, like the Trainer, in this process, which may
    hold the GPUs already. The component knows Examples alone, so a trial is measured on their
    images and clicks: those of the splits train and val. The work folder is named by what the
    search depends on: one that was killed goes on.

    Args:
        fn_args: TFX's `FnArgs`; `custom_config` holds the experiment and the work folder.
    """
    text = fn_args.custom_config["experiment"]
    config = ExperimentConfig.from_yaml(text)
    use_file_system_options(fn_args.custom_config.get("file_system_options"))
    graph = fn_args.transform_graph_path
    # Examples live under …/Split-*/*; their folder names the artifact.
    examples = Path(fn_args.train_files[0]).parent.parent
    key = fingerprint_text(text, fn_args.custom_config["code"], str(examples), graph)
    work = Path(fn_args.custom_config["work_dir"], key)
    run = functools.partial(_run_trial, work=work, examples=examples, graph=graph)
    return TunerFnResult(tuner=ExperimentTuner(config, work, run), fit_kwargs={})


def _run_trial(
    config: ExperimentConfig, trial_id: str, *, work: Path, examples: Path, graph: str
) -> dict[str, float]:
    """Train and measure one trial; its folder goes when the oracle gets the metrics."""
    data, run_dir = work / "evaluation_data", work / "trials" / trial_id
    write_evaluation_data(examples, data)
    keras.utils.clear_session()  # of the trial before
    train_towers(
        config,
        examples=examples,
        vocabulary=Path(graph),
        run_dir=run_dir / "training",
        towers_dir=run_dir / "towers",
        transform_graph=graph,
    )
    evaluation = evaluate(
        model_folders(run_dir / "towers"),
        config.evaluate,
        gallery_dir=data / "gallery",
        relevance_path=data / "relevance.parquet",
    )
    shutil.rmtree(run_dir)
    return evaluation.metrics
