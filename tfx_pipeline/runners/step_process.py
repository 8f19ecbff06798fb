"""Steps in processes forked from one that has imported TensorFlow and TFX once.

Most of a small step's time is importing. `multiprocessing` keeps the process that has imported and
done nothing else, so that steps share nothing but imported code.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

PRELOADED = [
    "tensorflow",
    "tensorflow_data_validation",
    "tensorflow_text",
    "tensorflow_transform",
    "tfx.components",
    "tfx.orchestration.kubeflow.v2.container.kubeflow_v2_run_executor",
    "tfx_pipeline.pipeline",
    "tfx_pipeline.evaluation.evaluate",
    "tfx_pipeline.release.validation",
]
# Read when gRPC is imported: to fork a process that has it is safe only if it knows.
_FORKS = "GRPC_ENABLE_FORK_SUPPORT"

_context = multiprocessing.get_context("forkserver")


def preload() -> None:
    """Start the process that all others are forked from, and wait until it has imported."""
    os.environ[_FORKS] = "1"
    _context.set_forkserver_preload(PRELOADED)
    first = _context.Process(target=_nothing)
    first.start()
    first.join()


def run_step(
    arguments: Sequence[str], environment: Mapping[str, str], log: Path
) -> tuple[int, float]:
    """Run a step to its end.

    Args:
        arguments: of `kubeflow_step.main`.
        environment: variables of the step, beside those of this process.
        log: gets what the step prints.

    Returns:
        The exit code (negative: the signal that killed it) and the seconds it took.
    """
    log.touch()  # the step may be killed before it opens it
    started = time.monotonic()
    process = _context.Process(
        target=_step, args=(list(arguments), {**os.environ, **environment}, str(log))
    )
    process.start()
    process.join()
    assert process.exitcode is not None
    return process.exitcode, time.monotonic() - started


def _nothing() -> None:
    pass


def _step(arguments: list[str], environment: dict[str, str], log: str) -> None:
    """Run a step in the forked process."""
    stream = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for descriptor in (1, 2):
        os.dup2(stream, descriptor)
    os.environ.update(environment)
    from tfx_pipeline.runners.kubeflow_step import main

    sys.exit(main(arguments))
