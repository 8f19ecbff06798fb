"""Python scripts in processes that need not import TensorFlow and TFX first.

Importing is most of what a short command does. These processes are forked from one that has
imported both and done nothing else, which `multiprocessing` keeps for as long as this one lives.
"""

import contextlib
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tfx_pipeline.runners.step_process import PRELOADED

_server = multiprocessing.get_context("forkserver")
_server.set_forkserver_preload(
    [*PRELOADED, "tfx_pipeline.cli.main", "tfx_pipeline.runners.local", "tfx_pipeline.training_run"]
)


class Process:
    """A started script, as `subprocess.Popen` would have it; its streams go to files."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        env: Mapping[str, str] = os.environ,
        cwd: Path | str = ".",
        merge: bool = False,
    ):
        """Start the script.

        Args:
          command: path of a Python script, and its arguments.
          env: all environment variables it gets. Those that TensorFlow reads when it is imported
            have no effect.
          cwd: its working directory.
          merge: what it prints on standard error goes to standard output.
        """
        # Read when gRPC is imported: forking a process that has it is safe only if it knows.
        os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "1"
        self.args = list(command)
        self._streams = tempfile.TemporaryDirectory()
        self._out = Path(self._streams.name, "out")
        self._err = self._out if merge else Path(self._streams.name, "err")
        arguments = (self.args, dict(env), str(cwd), str(self._out), str(self._err))
        self._process = _server.Process(target=_run_script, args=arguments)
        self._process.start()
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(self.args, timeout, *self._printed())
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Wait for its end; what it printed on standard output and standard error."""
        self.wait(timeout)
        return self._printed()

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _printed(self) -> tuple[str, str]:
        # It may have ended before it opened them.
        texts = [p.read_text("utf-8") if p.exists() else "" for p in (self._out, self._err)]
        return (texts[0], "") if self._out == self._err else (texts[0], texts[1])


def run(
    command: Sequence[str], *, env: Mapping[str, str], cwd: Path | str, timeout: float
) -> subprocess.CompletedProcess:
    """Run a script to its end, as `subprocess.run` would; one that takes too long is killed."""
    process = Process(command, env=env, cwd=cwd)
    try:
        streams = process.communicate(timeout)
    finally:
        process.kill()
    return subprocess.CompletedProcess(process.args, process.returncode, *streams)


def _run_script(command: list[str], env: dict[str, str], cwd: str, out: str, err: str) -> None:
    """In the forked process: be the script."""
    os.dup2(os.open(out, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644), 1)
    os.dup2(1 if err == out else os.open(err, os.O_WRONLY | os.O_CREAT, 0o644), 2)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    sys.argv = command
    sys.path.insert(0, str(Path(command[0]).parent))
    runpy.run_path(command[0], run_name="__main__")
