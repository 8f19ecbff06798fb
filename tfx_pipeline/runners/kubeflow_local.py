"""Executes a compiled spec on this machine: Kubeflow's own local orchestrator, our entrypoint.

What differs from a cluster: steps are processes and not containers, resources and retries are
not heeded, artifacts are folders. Finished steps are reused as a cluster's cache would: a step
whose command and inputs are those of an earlier, finished one takes over its outputs.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from kfp import components, local
from kfp.local import logging_utils, status, subprocess_task_handler, task_dispatcher

from serving.files import write_atomically
from tfx_pipeline.fingerprint import fingerprint_text
from tfx_pipeline.runners.kubeflow_spec import (
    ENTRYPOINT,
    INVOCATION,
    VERSION_VARIABLE,
    own_version,
    read_spec,
)
from tfx_pipeline.runners.kubeflow_spec import parameters as spec_parameters
from tfx_pipeline.runners.progress import StepReport
from tfx_pipeline.runners.step_process import preload, run_step

_LOG_LINES = 30


def run_spec(
    path: Path,
    root: Path,
    parameters: Mapping[str, str | int],
    progress: Callable[[StepReport], None],
) -> dict[str, dict[str, Any]]:
    """Run all steps of a compiled spec, one after the other.

    Args:
        path: the compiled spec.
        root: gets artifacts, logs and what is remembered of finished steps.
        parameters: values in place of the spec's defaults.
        progress: called when a step starts and when it ends.

    Returns:
        Every artifact by `step/name`: its `uri`, a folder, and its `metadata`.

    Raises:
        UserError: a spec that is none, of another version, or that lacks a parameter.
        StepFailed: a step failed; its message has the end of the step's log.
    """
    spec = read_spec(path)
    values = spec_parameters(spec, path, parameters)
    run = _Run(root, len(spec["root"]["dag"]["tasks"]), progress)
    local.init(
        runner=local.SubprocessRunner(use_venv=False),
        pipeline_root=str(root / "artifacts"),
        raise_on_error=True,
    )
    preload()
    with _steps_run_by(run), _quiet():
        try:
            components.load_component_from_file(str(path))(**values)
        except RuntimeError:
            if run.failure is not None:
                raise run.failure from None
            raise
    return run.outputs


class StepFailed(Exception):
    """A step ended with an error; the message is its own."""


class _Run:
    """One run: where things are, and what was found."""

    def __init__(self, root: Path, total: int, progress: Callable[[StepReport], None]):
        self.finished = root / "finished"
        self.total = total
        self.progress = progress
        self.number = 0
        self.outputs: dict[str, dict[str, Any]] = {}
        self.failure: StepFailed | None = None
        self.finished.mkdir(parents=True, exist_ok=True)

    def step(self, command: list[str]) -> bool:
        """Run one step or reuse it; whether it succeeded."""
        arguments = command[len(ENTRYPOINT) :]
        at = arguments.index(INVOCATION) + 1
        invocation = json.loads(arguments[at])
        report = Path(invocation["outputs"]["outputFile"])
        name = report.parent.name
        self.number += 1
        self.progress(StepReport(name, self.number, self.total))
        inputs = json.dumps(invocation.get("inputs", {}), sort_keys=True)
        rest = [argument for place, argument in enumerate(arguments) if place != at]
        remembered = self.finished / f"{name}-{fingerprint_text(inputs, *rest)}.json"
        cached = remembered.is_file()
        seconds = 0.0
        report.parent.mkdir(parents=True, exist_ok=True)
        if cached:
            shutil.copyfile(remembered, report)
        else:
            log = report.with_name("log.txt")
            code, seconds = run_step(arguments, {VERSION_VARIABLE: own_version()}, log)
            if code:
                self.failure = StepFailed(_explain(name, code, log))
                return False
            write_atomically(remembered, report.read_text(encoding="utf-8"))
        for output, held in json.loads(report.read_text(encoding="utf-8"))["artifacts"].items():
            self.outputs[f"{name}/{output}"] = held["artifacts"][0]
        self.progress(StepReport(name, self.number, self.total, seconds, cached))
        return True


def _explain(name: str, code: int, log: Path) -> str:
    """Return what a failed step says of itself, and where all of it is."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    own = [line for line in lines if line.startswith("Error: ")]
    said = own[-1].removeprefix("Error: ") if own else "\n".join(lines[-_LOG_LINES:])
    how = f"signal {-code}" if code < 0 else f"exit code {code}"
    return f"Step {name} failed ({how}): {said}\nIts log: {log}"


@contextlib.contextmanager
def _steps_run_by(run: _Run) -> Iterator[None]:
    """Let Kubeflow's orchestrator hand its steps to us.

    It offers containers (which this machine may not have) and Python functions, and has no place
    to register a third way: so the latter's handler is replaced for the time being.
    """

    class Handler:
        def __init__(self, image: str, full_command: list[str], pipeline_root: str, runner: Any):
            del image, pipeline_root, runner
            self._command = full_command

        def run(self) -> status.Status:
            succeeded = run.step(self._command)
            return status.Status.SUCCESS if succeeded else status.Status.FAILURE

    module = task_dispatcher.subprocess_task_handler
    assert module is subprocess_task_handler
    original = module.SubprocessTaskHandler
    module.SubprocessTaskHandler = Handler
    try:
        yield
    finally:
        module.SubprocessTaskHandler = original


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Leave the orchestrator's log messages to this process' logging; steps have their own logs."""
    original = logging_utils.local_logger_context, logging_utils.print_horizontal_line
    logging_utils.local_logger_context = contextlib.nullcontext
    logging_utils.print_horizontal_line = lambda: None
    try:
        yield
    finally:
        logging_utils.local_logger_context, logging_utils.print_horizontal_line = original
