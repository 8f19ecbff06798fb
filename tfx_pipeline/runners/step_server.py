"""A process that has imported TensorFlow and TFX once and forks a child for every step.

Most of a small step's time is importing. The server reads requests from standard input, a JSON
object a line ({"arguments": […], "environment": {…}, "log": path}), and answers on standard
output with {"code": exit code, "seconds": of the step}. A child starts from a process in which no
operation has run yet, so that steps share nothing but imported code.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

_PRELOADED = (
    "tensorflow",
    "tensorflow_data_validation",
    "tensorflow_text",
    "tensorflow_transform",
    "tfx.components",
    "tfx.orchestration.kubeflow.v2.container.kubeflow_v2_run_executor",
    "tfx_pipeline.pipeline",
    "tfx_pipeline.evaluation.evaluate",
    "tfx_pipeline.release.validation",
)


class StepServer:
    """Starts the server and asks it to run steps; a context manager."""

    def __enter__(self) -> StepServer:
        # A fork of a process with idle gRPC threads is safe only if gRPC knows of it.
        environment = {**os.environ, "GRPC_ENABLE_FORK_SUPPORT": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()  # ends the server
        self._process.wait()
        self._process.stdout.close()

    def run(
        self, arguments: Sequence[str], environment: Mapping[str, str], log: Path
    ) -> tuple[int, float]:
        """Run a step to its end.

        Args:
          arguments: of `kubeflow_step.main`.
          environment: variables of the step, beside the server's own.
          log: gets what the step prints.

        Returns:
          The exit code (negative: the signal that killed it) and the seconds it took.

        Raises:
          RuntimeError: the server itself is gone.
        """
        request = {
            "arguments": list(arguments),
            "environment": dict(environment),
            "log": str(log),
        }
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            raise RuntimeError(f"the step server ended with code {self._process.wait()}")
        values = json.loads(answer)
        return values["code"], values["seconds"]


def serve() -> None:
    """Answer requests until standard input ends."""
    import importlib

    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what imports print is not an answer
    for name in _PRELOADED:
        importlib.import_module(name)
    for line in sys.stdin:
        request = json.loads(line)
        started = time.monotonic()
        child = os.fork()
        if not child:
            _run_child(request)
        _, status = os.waitpid(child, 0)
        seconds = time.monotonic() - started
        values = {"code": os.waitstatus_to_exitcode(status), "seconds": seconds}
        print(json.dumps(values), file=answers, flush=True)


def _run_child(request: dict) -> None:
    """Run a step in the forked child, which never returns."""
    code = 1
    try:
        log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        for stream in (1, 2):
            os.dup2(log, stream)
        os.close(0)  # the requests are the server's
        os.environ.update(request["environment"])
        from tfx_pipeline.runners.kubeflow_step import main

        code = main(request["arguments"])
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve()
