"""What the runners of one process have in common: where things are, and the outcome of a run."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from ml_metadata.proto import metadata_store_pb2

from serving.files import write_atomically
from tfx_pipeline.components.artifacts import METRICS_FILE, REPORT_FILE
from tfx_pipeline.config import ExperimentConfig
from tfx_pipeline.data.rejected import describe, read_summary
from tfx_pipeline.data.stats import require_splits
from tfx_pipeline.submission import Submission

METADATA_FILE = "metadata.sqlite"
FIRST_STEP = "ClickExampleGen"


@dataclasses.dataclass(frozen=True)
class RunResult:
    """What a finished run left behind."""

    released_version: int | None
    reasons: str  # why nothing was released; "" if something was
    metrics_file: Path
    report_file: Path
    rejected: str  # a line about rejected rows; "" if there are none


def check_splits(config: ExperimentConfig, rejected: str) -> None:
    """Say before training, not after it, that there is nothing to evaluate on.

    Not a matter of the step itself: what is evaluated may change without new Examples.

    Args:
        config: the experiment.
        rejected: folder of the first step's rejected output, which holds the counts.

    Raises:
        UserError: a split to be evaluated is empty.
    """
    require_splits(read_summary(rejected), config.evaluate.splits)


def collect(
    submission: Submission,
    *,
    evaluation: str | None,
    rejected: str,
    release: metadata_store_pb2.Artifact,
) -> RunResult:
    """Copy what people look at to the output folder, and say how the run ended.

    Args:
        submission: of the run.
        evaluation: folder of the evaluator's output; None of a run without one, which leaves what
            is there of the run before.
        rejected: folder of the first step's rejected output.
        release: the pusher's output as the metadata store has it.
    """
    output = Path(submission.config.output)
    for name in (METRICS_FILE, REPORT_FILE) if evaluation is not None else ():
        assert evaluation is not None
        write_atomically(output / name, Path(evaluation, name).read_text(encoding="utf-8"))
    released = release.custom_properties["released"].int_value == 1
    return RunResult(
        released_version=release.custom_properties["version"].int_value if released else None,
        reasons=release.custom_properties["reasons"].string_value,
        metrics_file=output / METRICS_FILE,
        report_file=output / REPORT_FILE,
        rejected=describe(rejected),
    )
