"""Running one trial in a process of its own, from the process that runs many."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfx_pipeline.config import ExperimentConfig
from tfx_pipeline.fingerprint import fingerprint_text
from tfx_pipeline.training_run import TrainingRun
from tfx_pipeline.trials.result import FAILURE_FILE, WRONG_INPUT, TrialResult, evaluation_key
from vl_models.errors import Interrupted, UserError
from vl_models.training.signals import StopRequest


class TrialFailed(Exception):
    """A trial ended without a result; the message says why."""


def run_trial(config: ExperimentConfig, run: Path, data: Path) -> TrialResult:
    """Train and evaluate in the folder ``run``, or take the result that is there.

    An interrupted training goes on from its checkpoint; finished towers are only evaluated
    again, if the settings or the code of the evaluation are others.

    Args:
        config: the experiment; the folder must be of this one and no other.
        run: the folder, as `TrainingRun` has it.
        data: folder of Examples and vocabularies, shared by trials of equal data settings.

    Raises:
        TrialFailed: wrong input, a loss that diverged, or a process that died.
        Interrupted: this process was told to stop; the trial did, with a checkpoint.
    """
    key = evaluation_key(config)
    known = TrialResult.read(run, key)
    if known is not None:
        return known
    try:
        TrainingRun(run, data).prepare(config)
    except UserError as error:
        raise TrialFailed(str(error)) from None
    failure = run / FAILURE_FILE
    failure.unlink(missing_ok=True)
    with StopRequest() as stop:
        code = _run_worker(run, data, key, stop)
    if stop.requested is not None:
        raise Interrupted(f"{stop.requested}; run the same command again to continue.")
    result = TrialResult.read(run, key)
    if code != 0 or result is None:
        raise TrialFailed(_describe_failure(code, failure, run / "run.log"))
    return result


def data_folder(config: ExperimentConfig, root: Path) -> Path:
    """Return the folder under ``root`` that all experiments with these data settings share."""
    folder = config.load_data_folder()
    settings = config.data.example_config(folder).model_dump_json()
    return root / fingerprint_text(folder.root, settings, str(config.data.span_window))


def trial_key(config: ExperimentConfig, data: Path, without: Mapping[str, Any]) -> str:
    """Return a key of settings, less those of no influence, and of the Examples, which are made."""
    examples = TrainingRun(data, data).make_examples(config)
    settings = config.model_dump_json(exclude=without)  # type: ignore[arg-type]
    return fingerprint_text(examples, settings)


def leave_gpus_alone() -> None:
    """Keep this process off the GPUs, whose memory the trials' processes need."""
    import tensorflow as tf

    tf.config.set_visible_devices([], "GPU")


def _run_worker(run: Path, data: Path, key: str, stop: StopRequest) -> int:
    """Start the process, pass on a request to stop, and wait; its exit code."""
    command = [sys.executable, "-m", "tfx_pipeline.trials.worker", str(run), str(data), key]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=sys.stderr,  # not our descriptor 2, which may go to a log; it shows a bar there
        # Else Ctrl-C in a terminal would reach it twice, and twice means at once.
        start_new_session=True,
    ) as process:
        told = False
        while True:
            try:
                return process.wait(timeout=0.2)
            except subprocess.TimeoutExpired:
                if stop.requested is not None and not told:
                    process.send_signal(signal.SIGTERM)
                    told = True


def _describe_failure(code: int, failure: Path, log: Path) -> str:
    if failure.is_file():
        text = failure.read_text(encoding="utf-8")
        return text if code == WRONG_INPUT else f"{text.rstrip('.')}. Messages: {log}."
    if code < 0:
        name = signal.Signals(-code).name
        remedy = " The system may have run out of memory." if name == "SIGKILL" else ""
        return f"The process was ended by {name}.{remedy} Messages: {log}."
    return f"The process ended with code {code}. Messages: {log}."
