"""`vlsearch train` on two workers: real processes that find each other by TF_CONFIG."""

import json
import os
import signal
import time
from pathlib import Path

import pytest

from tests import preloaded
from tests.ports import free_ports
from tests.tfx_pipeline.conftest import REPOSITORY, TINY, VLSEARCH, vlsearch
from vl_models.training.logging import read_history

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

SCRIPT = Path(__file__).with_name("prepare_as_worker.py")


def start_workers(*command):
    """The command as chief and as worker 1, on free ports of this machine."""
    addresses = [f"127.0.0.1:{port}" for port in free_ports(2)]
    cluster = {"chief": addresses[:1], "worker": addresses[1:]}
    tasks = [{"type": "chief", "index": 0}, {"type": "worker", "index": 0}]
    return [
        preloaded.Process(
            command,
            cwd=REPOSITORY,
            env={**os.environ, "TF_CONFIG": json.dumps({"cluster": cluster, "task": task})},
        )
        for task in tasks
    ]


def finish(processes, code):
    """What each of them printed on both streams."""
    outputs = [process.communicate(timeout=800) for process in processes]
    for process, output in zip(processes, outputs):
        assert process.returncode == code, output
    return outputs


def training(data, run):
    arguments = ["train", "--config", "configs/emoji.yaml", "--data", str(data), "--run", str(run)]
    settings = ["train.global_batch_size=16", "train.steps=40", "train.checkpoint_every=1000"]
    settings += ["train.log_every=1", "model.precision=float32", "devices=cpu"]
    settings += ["train.decay=constant"]  # so that a short run begins like a long one
    for setting in (*TINY, *settings):
        arguments += ["--set", setting]
    return arguments


def test_workers_train_like_one_stop_together_and_go_on(emoji_folder, tmp_path):
    history = tmp_path / "two" / "training" / "history.jsonl"
    command = [VLSEARCH, *training(emoji_folder, tmp_path / "two")]

    workers = start_workers(*command)
    deadline = time.monotonic() + 300
    while len(read_history(history)) < 5:
        assert all(worker.poll() is None for worker in workers) and time.monotonic() < deadline
        time.sleep(0.05)
    workers[1].send_signal(signal.SIGTERM)  # only one is told; both stop at the same step
    (_, chief_says), (_, worker_says) = finish(workers, code=130)

    [checkpoint] = (tmp_path / "two" / "training" / "checkpoints").iterdir()
    step = int(checkpoint.name.split("-")[1])
    assert 5 <= step < 40 and not (tmp_path / "two" / "towers").exists()
    assert chief_says.startswith(f"Stopped: stop of another worker at step {step} of 40.")
    assert worker_says.startswith(f"Stopped: SIGTERM at step {step} of 40.")

    (chief_says, _), (worker_says, _) = finish(start_workers(*command), code=0)

    assert f"Towers: {tmp_path}/two/towers" in chief_says
    assert worker_says == "Worker 1 of 2: waiting for the others.\n"
    assert sorted(path.name for path in (tmp_path / "two" / "towers").iterdir()) == [
        "image_tower",
        "text_tower",
        "weights",
    ]
    rows = [row for row in read_history(history) if "hook" not in row]
    assert [row["step"] for row in rows] == list(range(1, 41))
    for name in ("run.log", "run-worker-1.log"):
        log = (tmp_path / "two" / name).read_text(encoding="utf-8")
        assert f"resumed from step {step} of 40" in log

    vlsearch(*training(emoji_folder, tmp_path / "one"), "--set", "train.steps=5")
    alone = read_history(tmp_path / "one" / "training" / "history.jsonl")
    for one, two in zip(alone[:5], rows):
        for key in ("loss/contrastive", "gradient_norm", "temperature"):
            # float32 of sums in another order, five updates long; the norm is about 60.
            assert one[key] == pytest.approx(two[key], rel=1e-5), (key, one["step"])


def test_what_goes_wrong_before_training_is_said_on_every_worker(emoji_folder, tmp_path):
    workers = start_workers(str(SCRIPT), str(emoji_folder), str(tmp_path))
    chief, worker = (
        dict(line.split(": ", 1) for line in output.splitlines())
        for output, _ in finish(workers, code=0)
    )
    assert str(emoji_folder / "missing") in chief["no data"]
    assert worker["no data"].startswith("The chief could not prepare the training; its own message")
    assert chief["other folder"] == "done"
    assert worker["other folder"] == (
        f"This worker does not see the chief's files in {tmp_path}/elsewhere after 0.5 s. All "
        "workers need the same folder, on a file system that they share; name it with --run."
    )
    assert worker["other settings"] == (
        "The chief trains another experiment: section 'train' differs from that in "
        f"{tmp_path}/shared/experiment.yaml. Start the same command on all workers."
    )
    assert chief["all well"] == worker["all well"] == "done"
