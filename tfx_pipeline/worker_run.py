"""A training run of several workers: the chief prepares the run folder, all others wait for it."""

from __future__ import annotations

import hashlib
import logging
import time
from pathlib import Path

import tensorflow as tf

from tfx_pipeline.config import ExperimentConfig
from tfx_pipeline.training_run import TrainingRun
from vl_models.errors import UserError
from vl_models.training.workers import from_chief, worker_place

# Seconds until files that the chief wrote must be visible: network file systems cache.
FILES_TIMEOUT = 60.0

_FAILED = -1
_SETTINGS = {"vocabulary", "model", "input", "train"}

logger = logging.getLogger(__name__)


def prepare_on_chief(
    run: TrainingRun,
    config: ExperimentConfig,
    strategy: tf.distribute.Strategy,
    *,
    fresh: bool = False,
    timeout: float = FILES_TIMEOUT,
) -> None:
    """Make Examples and vocabulary on the chief; the others wait until they see them.

    The chief holds the run's lock from here on, unless the preparation fails.

    Args:
        run: its folder is the same, shared one for all workers.
        config: the experiment, the same for all workers.
        strategy: of this run; with one worker, that is the chief.
        fresh: see `TrainingRun.prepare`.
        timeout: seconds that the chief's files may take to be seen by another worker.

    Raises:
        Unavailable: on the chief, another training is at work in the folder.
        UserError: on the chief, what `TrainingRun.prepare` raises; on the others, that the chief
            failed, that its files are not to be seen, or that it trains another experiment.
    """
    if worker_place(strategy).is_chief:
        answer = _FAILED
        try:
            run.lock.acquire()
            run.prepare(config, fresh)
            answer = _fingerprint(run)
        finally:
            if answer == _FAILED:
                run.lock.release()
            from_chief(strategy, answer)
        return
    logger.info("waiting for the chief to prepare %s", run.path)
    expected = from_chief(strategy, 0)
    if expected == _FAILED:
        raise UserError("The chief could not prepare the training; its own message says why.")
    _wait_for_files(run, expected, timeout)
    _check_experiment(run.path / "experiment.yaml", config)


def _fingerprint(run: TrainingRun) -> int:
    """Of what `TrainingRun.prepare` leaves, a non-negative int64; `_FAILED` if there is nothing."""
    digest = hashlib.sha256()
    try:
        for path in (run.key_file, run.path / "experiment.yaml"):
            digest.update(path.read_bytes() + b"\0")
        if run.vocabulary.is_file():  # towers of features have none
            digest.update(run.vocabulary.read_bytes())
    except FileNotFoundError:
        return _FAILED
    return int.from_bytes(digest.digest()[:7])


def _wait_for_files(run: TrainingRun, expected: int, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while _fingerprint(run) != expected:
        if time.monotonic() > deadline:
            raise UserError(
                f"This worker does not see the chief's files in {run.path.absolute()} after "
                f"{timeout:g} s. All workers need the same folder, on a file system that they "
                "share; name it with --run."
            )
        time.sleep(0.2)


def _check_experiment(path: Path, config: ExperimentConfig) -> None:
    """Refuse settings other than the chief's: the workers' models would drift apart."""
    chief = ExperimentConfig.load(path)
    for section in sorted(_SETTINGS):
        theirs, own = getattr(chief, section), getattr(config, section)
        if theirs != own:
            raise UserError(
                f"The chief trains another experiment: section '{section}' differs from that in "
                f"{path}. Start the same command on all workers."
            )
