"""The lock of a run folder, held by real processes."""

import os
import re
import signal
import socket
import subprocess
import sys

import pytest

from tests import preloaded
from tests.tfx_pipeline.conftest import REPOSITORY, VLSEARCH, vlsearch
from tests.tfx_pipeline.tiny_experiment import write_tiny
from tfx_pipeline.run_lock import LOCK_FILE, RunLock
from vl_models.errors import Unavailable

HOLD = """
import sys
from pathlib import Path
from tfx_pipeline.run_lock import RunLock
with RunLock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """A process that holds the lock of `tmp_path / "run"`."""
    command = [sys.executable, "-c", HOLD, str(tmp_path / "run")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, cwd=REPOSITORY, **pipes) as process:
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def test_the_second_is_told_who_is_first(holder, tmp_path):
    with pytest.raises(Unavailable) as caught:
        RunLock(tmp_path / "run").acquire()
    host = re.escape(socket.gethostname())
    assert re.fullmatch(
        rf"{tmp_path}/run is in use by process {holder.pid} on {host} since "
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[+-]\d\d:\d\d\. Wait until that has ended, or stop it, or "
        r"name another folder\.",
        str(caught.value),
    )


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_end_of_the_holder_frees_it(holder, tmp_path, number):
    holder.send_signal(number)
    holder.wait()
    with RunLock(tmp_path / "run") as lock:
        lock.acquire()  # again is nothing
        assert f'"pid": {os.getpid()},' in (tmp_path / "run" / LOCK_FILE).read_text()
        with pytest.raises(Unavailable, match=f"in use by process {os.getpid()} on"):
            RunLock(tmp_path / "run").acquire()
    with RunLock(tmp_path / "run"):
        pass


def test_one_that_waits_gets_it_in_the_end(holder, tmp_path):
    command = [sys.executable, "-c", HOLD.replace("1]))", "1]), wait=True)"), str(tmp_path / "run")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, cwd=REPOSITORY, **pipes) as waiting:
        assert waiting.poll() is None
        holder.stdin.close()
        assert waiting.stdout.readline() == b"held\n"
        waiting.stdin.close()
        assert waiting.wait() == 0


def test_a_holder_that_has_not_written_its_name_yet_is_another_process(holder, tmp_path):
    (tmp_path / "run" / LOCK_FILE).write_text("")
    with pytest.raises(Unavailable, match=r"is in use by another process\. Wait"):
        RunLock(tmp_path / "run").acquire()


@pytest.mark.parametrize("command", ["train", "run", "compare"])
def test_commands_say_it_in_one_line(command, emoji_folder, tmp_path):
    config = str(write_tiny(tmp_path / "tiny.yaml"))
    folder = tmp_path / "pipeline" if command == "run" else tmp_path
    arguments = [command, *([config] if command == "compare" else ["--config", config])]
    arguments += ["--data", str(emoji_folder), "--output", str(tmp_path)]
    with RunLock(folder):
        result = vlsearch(*arguments, check=False)
    assert result.returncode == 1
    assert result.stderr.startswith(f"Error: {folder} is in use by process {os.getpid()} on ")
    assert len(result.stderr.splitlines()) == 1
    assert not (folder / "training").exists()


@pytest.mark.slow
def test_of_two_trainings_one_trains_and_the_other_is_refused(emoji_folder, tmp_path):
    config = write_tiny(tmp_path / "tiny.yaml")
    arguments = ["train", "--config", str(config), "--data", str(emoji_folder)]
    arguments += ["--run", str(tmp_path / "run"), "--set", "train.log_every=4"]
    processes = [preloaded.Process([VLSEARCH, *arguments], cwd=REPOSITORY) for _ in range(2)]
    told = {process.pid: process.communicate(timeout=600) for process in processes}
    first, second = sorted(processes, key=lambda process: process.returncode)
    assert (first.returncode, second.returncode) == (0, 1)
    assert f"/run is in use by process {first.pid} on " in told[second.pid][1]
    rows = (tmp_path / "run" / "training" / "history.jsonl").read_text("utf-8").splitlines()
    steps = [int(re.match(r'\{"step": (\d+)', row)[1]) for row in rows]
    assert steps == list(range(4, 41, 4))
