"""The experiment that a runner gets: a file, overrides and folders, shrunk or not."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from tfx_pipeline.config import ExperimentConfig
from tfx_pipeline.data.beam_options import load_option_set

# Enough to pass through every step; what comes out is not good, so nothing is demanded of it.
SMOKE = (
    "train.steps=20",
    "train.global_batch_size=16",
    "train.warmup_steps=2",
    "train.log_every=5",
    "train.hooks=[]",
    "train.epochs=null",
    "train.stages=[]",
    "train.batch_size_per_replica=null",
    "evaluate.thresholds={}",
    "evaluate.bootstrap.samples=50",
    "evaluate.report.projection=pca",
)


def load_experiment(
    config: str | Path,
    overrides: Sequence[str] = (),
    *,
    data: str | Path | None = None,
    beam: str | Path | None = None,
    output: str | Path | None = None,
    smoke: bool = False,
) -> ExperimentConfig:
    """Read an experiment and change it for one run.

    Args:
        config: a YAML file.
        overrides: ``key.sub=value``, as with `--set`; they win over ``smoke``.
        data: data folder instead of the one that the file names.
        beam: file of Beam's arguments instead of those that the file names.
        output: output folder instead of the one that the file names.
        smoke: shrink the training to seconds.

    Raises:
        UserError: a file that is missing, or a configuration that is not valid.
    """
    given = [*(SMOKE if smoke else ()), *overrides]
    # Quoted: a folder may have a name that YAML takes for a date or a number.
    given += [f"data.folder={json.dumps(str(data))}"] if data is not None else []
    given += [f"beam_pipeline_args={json.dumps(load_option_set(beam))}"] if beam is not None else []
    given += [f"output={json.dumps(str(output))}"] if output is not None else []
    return ExperimentConfig.load(config, given)
