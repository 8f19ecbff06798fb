"""What the Trainer component calls."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from tfx_pipeline.config import ExperimentConfig
from tfx_pipeline.fingerprint import fingerprint_text
from tfx_pipeline.storage.options import use_file_system_options
from tfx_pipeline.training.towers import train_towers
from tfx_pipeline.tuning.space import from_values
from vl_models.training.ending import ENDING
from vl_models.training.logging import HISTORY


def run_fn(fn_args: Any) -> None:
    """Train on the Examples through the Transform graph and export the towers.

    The work folder is named by what the run depends on, and outlives the component's own
    output folder: a run that was killed is continued from its last checkpoint.

    Args:
        fn_args: TFX's `FnArgs`; `custom_config` holds the experiment and the work folder.
    """
    config = ExperimentConfig.from_yaml(fn_args.custom_config["experiment"])
    if fn_args.hyperparameters is not None:  # the Tuner's best
        values = from_values(fn_args.hyperparameters["values"])
        config = config.with_values(values, "The Tuner's hyperparameters")
    if steps := fn_args.custom_config["steps"]:  # those of this run
        length = {"train.steps": steps, "train.epochs": None}
        config = config.with_values(length, f"The run's parameter steps={steps}")
    use_file_system_options(fn_args.custom_config.get("file_system_options"))
    graph = fn_args.transform_graph_path
    # Examples live under …/Split-*/*; their folder names the artifact.
    examples = Path(fn_args.train_files[0]).parent.parent
    code = fn_args.custom_config["code"]
    key = fingerprint_text(config.to_yaml(), code, str(examples), graph)
    run_dir = Path(fn_args.custom_config["work_dir"], key)
    train_towers(
        config,
        examples=examples,
        vocabulary=Path(graph),
        run_dir=run_dir,
        towers_dir=Path(fn_args.serving_model_dir),
        transform_graph=graph,
    )
    shutil.copytree(run_dir / "tensorboard", Path(fn_args.model_run_dir), dirs_exist_ok=True)
    shutil.copyfile(run_dir / HISTORY, Path(fn_args.model_run_dir, HISTORY))
    if (run_dir / ENDING).is_file():  # not of a run that was killed after its last checkpoint
        shutil.copyfile(run_dir / ENDING, Path(fn_args.model_run_dir, ENDING))
    shutil.rmtree(run_dir)
