"""Interrupted in every way: real processes, real signals."""

import json
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import tiny
from train_tiny import train

from tests import preloaded
from tests.ports import free_ports
from vl_models.training.checkpoint import latest_checkpoint, load_checkpoint
from vl_models.training.logging import read_history
from vl_models.training.signals import StopRequest

SCRIPT = Path(__file__).parent / "train_tiny.py"


@pytest.fixture(scope="module")
def pattern(tmp_path_factory):
    return tiny.write_records(tmp_path_factory.mktemp("records"), shards=3, per_shard=7)


def start(run_dir, pattern, seconds, environment=None):
    return preloaded.Process(
        [str(SCRIPT), str(run_dir), pattern, str(seconds)],
        env={**os.environ, **(environment or {})},
        merge=True,
    )


def finish(process):
    output, _ = process.communicate(timeout=500)
    assert process.returncode == 0, output
    return output


def wait_for_step(run_dir, step, process):
    deadline = time.monotonic() + 500
    while time.monotonic() < deadline:
        rows = read_history(run_dir / "history.jsonl")
        if rows and rows[-1]["step"] >= step:
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    raise AssertionError(f"no step {step} in time")


def assert_same_run(left, right):
    a, b = (latest_checkpoint(run / "checkpoints") for run in (left, right))
    assert a.step == b.step == 12
    assert a.state["inputs"] == b.state["inputs"]
    for tensors in ("weights", "optimizer"):
        for key, value in getattr(a, tensors).items():
            np.testing.assert_array_equal(value, getattr(b, tensors)[key], err_msg=key)
    losses = [
        [row["loss/contrastive"] for row in read_history(run / "history.jsonl")]
        for run in (left, right)
    ]
    assert losses[0] == losses[1]
    assert len(losses[0]) == 12


@pytest.mark.slow
def test_terminated_and_killed_runs_end_like_the_uninterrupted_one(tmp_path, pattern, strategies):
    terminated = start(tmp_path / "terminated", pattern, 0.2)
    killed = start(tmp_path / "killed", pattern, 0.2)
    wait_for_step(tmp_path / "terminated", 2, terminated)
    terminated.send_signal(signal.SIGTERM)
    wait_for_step(tmp_path / "killed", 6, killed)
    killed.kill()
    killed.communicate()

    assert "interrupted='SIGTERM'" in finish(terminated)
    stopped = latest_checkpoint(tmp_path / "terminated" / "checkpoints").step
    assert 2 <= stopped < 12
    assert read_history(tmp_path / "terminated" / "history.jsonl")[-1]["step"] == stopped
    assert latest_checkpoint(tmp_path / "killed" / "checkpoints").step in (4, 8)

    for run in ("whole", "terminated", "killed"):
        assert train(tmp_path / run, pattern, strategies[1]).interrupted is None
    assert_same_run(tmp_path / "whole", tmp_path / "terminated")
    assert_same_run(tmp_path / "whole", tmp_path / "killed")


@pytest.mark.slow
def test_two_workers_train_like_two_replicas_and_stop_together(tmp_path, pattern, strategies):
    cluster = {"worker": [f"127.0.0.1:{port}" for port in free_ports(2)]}
    workers = []
    for index in range(2):
        task = {"cluster": cluster, "task": {"type": "worker", "index": index}}
        environment = {"TF_CONFIG": json.dumps(task)}
        workers.append(start(tmp_path / "workers", pattern, 0.2, environment))
    wait_for_step(tmp_path / "workers", 3, workers[0])
    workers[1].send_signal(signal.SIGTERM)  # only one is told; both must stop at the same step
    assert "interrupted='SIGTERM'" in finish(workers[1])
    assert "interrupted='stop of another worker'" in finish(workers[0])

    train(tmp_path / "replicas", pattern, strategies[2], checkpoint_every=1, keep=12)
    stopped = latest_checkpoint(tmp_path / "workers" / "checkpoints")
    assert 3 <= stopped.step < 12
    same = load_checkpoint(tmp_path / f"replicas/checkpoints/step-{stopped.step:010d}")
    for path, value in stopped.weights.items():
        np.testing.assert_allclose(value, same.weights[path], atol=1e-5, err_msg=path)
    assert stopped.state["inputs"] == same.state["inputs"]


def test_the_first_signal_asks_and_the_second_acts():
    received = []
    previous = signal.signal(signal.SIGTERM, lambda number, frame: received.append(number))
    try:
        with StopRequest() as stop:
            os.kill(os.getpid(), signal.SIGTERM)
            assert stop.requested == "SIGTERM" and received == []
            os.kill(os.getpid(), signal.SIGTERM)
            assert received == [signal.SIGTERM]
        os.kill(os.getpid(), signal.SIGTERM)
        assert len(received) == 2
    finally:
        signal.signal(signal.SIGTERM, previous)


def test_handlers_are_put_back():
    before = signal.getsignal(signal.SIGINT)
    with StopRequest():
        assert signal.getsignal(signal.SIGINT) != before
    assert signal.getsignal(signal.SIGINT) == before
