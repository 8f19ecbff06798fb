"""Real processes that train: started, waited for, compared."""

import json
import os
from pathlib import Path

import numpy as np

from tests import preloaded
from tests.ports import free_ports
from vl_models.training.checkpoint import latest_checkpoint
from vl_models.training.logging import read_history

SCRIPT = Path(__file__).parent / "train_systems.py"
TIMES = {"data_seconds", "step_seconds", "samples_per_second", "input_wait_share"}


def start(folder, name, pattern, jobs, tf_config=None):
    """Start `train_systems.py`; jobs are (system, run_dir, settings, kill_at)."""
    keys = ("system", "run_dir", "settings", "kill_at")
    plan = {
        "pattern": pattern,
        "devices": "cpu",
        "jobs": [{k: str(v) if k == "run_dir" else v for k, v in zip(keys, job)} for job in jobs],
    }
    path = folder / f"{name}.json"
    path.write_text(json.dumps(plan), encoding="utf-8")
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    if tf_config is not None:
        environment["TF_CONFIG"] = json.dumps(tf_config)
    return preloaded.Process([str(SCRIPT), str(path)], env=environment, merge=True)


def finish(process, code=0, timeout=800):
    """Wait for the process, check its exit code, return what it printed."""
    output, _ = process.communicate(timeout=timeout)
    assert process.returncode == code, output
    return output


def tf_configs(count):
    """TF_CONFIG of each of so many workers on free ports of this machine."""
    cluster = {"worker": [f"127.0.0.1:{port}" for port in free_ports(count)]}
    return [
        {"cluster": cluster, "task": {"type": "worker", "index": index}} for index in range(count)
    ]


def curves(run_dir):
    """Rows of the history without times."""
    rows = read_history(run_dir / "history.jsonl")
    return [{k: v for k, v in row.items() if k not in TIMES} for row in rows]


def assert_same_run(left, right, tolerance):
    """Losses of every step, weights, state, slots and input position are equal."""
    one, two = curves(left), curves(right)
    assert len(one) == len(two) > 0
    for a, b in zip(one, two):
        assert a.keys() == b.keys()
        for key in a:
            if isinstance(a[key], str) or tolerance == 0:
                assert a[key] == b[key], (key, a["step"])
            else:
                # The norm of gradients multiplies what rounding did to the weights before them.
                bound = tolerance * max(1.0, abs(a[key])) * (3 if key == "gradient_norm" else 1)
                assert abs(a[key] - b[key]) <= bound, (key, a["step"])
    a, b = (latest_checkpoint(run / "checkpoints") for run in (left, right))
    assert a.step == b.step
    assert a.state["inputs"] == b.state["inputs"]
    for tensors in ("weights", "optimizer"):
        x, y = getattr(a, tensors), getattr(b, tensors)
        assert x.keys() == y.keys()
        for key in x:
            np.testing.assert_allclose(x[key], y[key], rtol=0, atol=tolerance, err_msg=key)
