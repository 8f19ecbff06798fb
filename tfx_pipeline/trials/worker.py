"""The process of one trial: trains what was prepared, then evaluates it.

    python -m tfx_pipeline.trials.worker RUN_FOLDER DATA_FOLDER EVALUATION_KEY

Only `run_trial` starts it. It stops with a checkpoint when told to, and also when the process
that started it is gone, however that ended.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfx_pipeline.run_lock import RunLock
from tfx_pipeline.trials.result import (
    EVALUATION_DIR,
    FAILURE_FILE,
    INTERRUPTED,
    WRONG_INPUT,
    TrialResult,
    read_json,
    write_json,
)

if TYPE_CHECKING:
    from tfx_pipeline.training_run import TrainingRun
    from vl_models.models.base import VisionLanguageModel

_COST_FILE = "cost.json"  # of training so far: seconds, peak memory
_TRAINED_FILE = "trained.json"  # there once the towers are whole


def main() -> int:
    """Run the trial that the arguments name; the exit code says how it ended."""
    from tfx_pipeline.cli.logs import log_to_file

    run, data, key = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    _stop_with_parent()
    log_to_file(run / "run.log")
    from tfx_pipeline.disk_errors import explain_disk_error
    from vl_models.errors import Interrupted, UserError

    try:
        # An earlier worker may still write its last checkpoint.
        with RunLock(run, wait=True):
            _run(run, data, key)
    except Interrupted:
        return INTERRUPTED
    except Exception as error:
        wrong_input = isinstance(error, UserError)
        text = str(error) if wrong_input else explain_disk_error(error, str(run))
        text = text or f"{type(error).__name__}: {error}"
        with contextlib.suppress(OSError):  # the disk may be full
            (run / FAILURE_FILE).write_text(text, encoding="utf-8")
        logging.exception("The trial failed.")
        return WRONG_INPUT if wrong_input else 1
    return 0


def _run(run: Path, data: Path, key: str) -> None:
    """Train unless the towers are there, evaluate, and write the result under ``key``."""
    from tfx_pipeline.config import ExperimentConfig
    from tfx_pipeline.training_run import TrainingRun
    from vl_models.training.strategy import make_strategy

    folder = TrainingRun(run, data)
    config = ExperimentConfig.load(run / "experiment.yaml")
    make_strategy(config.devices)  # devices are divided before TensorFlow runs anything
    if read_json(run / _TRAINED_FILE) is None:
        with _cost_counted(run / _COST_FILE):
            model = folder.train(config)
        parameters = {**_tower_parameters(folder.towers), **_model_parameters(model)}
        write_json(run / _TRAINED_FILE, {"parameters": parameters})
        del model
    folder.evaluate(config, run / EVALUATION_DIR, None)
    TrialResult(
        evaluation_key=key,
        parameters=read_json(run / _TRAINED_FILE)["parameters"],
        metrics=read_json(run / EVALUATION_DIR / "metrics.json"),
        **read_json(run / _COST_FILE),
        **_history(folder),
    ).write(run)


@contextlib.contextmanager
def _cost_counted(path: Path) -> Iterator[None]:
    """Add what is done meanwhile to the cost of the processes before this one."""
    before = read_json(path) or {}
    started = time.monotonic()
    try:
        yield
    finally:
        now = {"peak_memory_mib": _peak_memory(), "peak_gpu_memory_mib": _peak_gpu_memory()}
        cost: dict[str, Any] = {"seconds": before.get("seconds", 0) + time.monotonic() - started}
        for name, value in now.items():
            known = [one for one in (value, before.get(name)) if one is not None]
            cost[name] = max(known, default=None)
        write_json(path, cost)


def _peak_memory() -> float:
    """Most memory this process held, in MiB. (`ru_maxrss` would count its parent's, too.)"""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    [line] = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) / 1024


def _peak_gpu_memory() -> float | None:
    import tensorflow as tf

    if not tf.config.list_logical_devices("GPU"):
        return None
    return tf.config.experimental.get_memory_info("GPU:0")["peak"] / 2**20


def _tower_parameters(towers: Path) -> dict[str, int]:
    """Return the number of weights of each exported SavedModel, by the name of its folder."""
    import numpy as np
    import tensorflow as tf

    counts = {}
    for tower in sorted(path.parent for path in towers.glob("*/saved_model.pb")):
        variables = tf.train.list_variables(str(tower / "variables" / "variables"))
        shapes = [shape for name, shape in variables if name.endswith("VARIABLE_VALUE")]
        counts[tower.name] = int(sum(np.prod(shape, dtype=np.int64) for shape in shapes))
    return counts


def _model_parameters(model: VisionLanguageModel) -> dict[str, int]:
    """Count the weights that optimisers change, and all; a shared one counts once."""
    import numpy as np

    kinds = {"trainable": model.trainable_variables, "total": model.variables}
    return {
        kind: int(sum(np.prod(v.shape, dtype=np.int64) for v in {id(v): v for v in all_}.values()))
        for kind, all_ in kinds.items()
    }


def _history(folder: TrainingRun) -> dict[str, Any]:
    """Speed and last losses, from the logged steps, and whether the training collapsed."""
    import statistics

    from vl_models.training.ending import Ending
    from vl_models.training.logging import HISTORY, read_history

    rows = [row for row in read_history(folder.training / HISTORY) if "hook" not in row]
    speeds = [row["samples_per_second"] for row in rows][1:]
    losses = rows[-1] if rows else {}
    ending = Ending.read(folder.training)
    return {
        "samples_per_second": statistics.median(speeds) if speeds else None,
        "losses": {
            name.removeprefix("loss/"): value
            for name, value in losses.items()
            if name.startswith("loss/")
        },
        "collapsed": "" if ending is None else ending.describe(),
    }


def _stop_with_parent() -> None:
    """SIGTERM to this process when standard input ends: the parent holds its other end."""

    def wait() -> None:
        # Not sys.stdin: at its end, Python would wait for the lock that a reading thread holds.
        while os.read(0, 1):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()


if __name__ == "__main__":
    sys.exit(main())
