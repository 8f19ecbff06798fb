"""What a run tells: one line per N steps, history.jsonl, TensorBoard, a bar on a terminal."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import rich.progress
import tensorflow as tf

from vl_models.errors import UserError
from vl_models.terminal import progress_bar

HISTORY = "history.jsonl"

logger = logging.getLogger(__name__)


class TrainingDiverged(UserError):
    """A loss or the gradient norm is no longer a finite number."""


def check_finite(step: int, results: Mapping[str, float]) -> None:
    """Raise TrainingDiverged, naming the first value that is not finite, losses first."""
    bad = {name: value for name, value in results.items() if not math.isfinite(value)}
    for name, value in bad.items():
        if name.startswith("loss/"):
            term = name.removeprefix("loss/")
            raise TrainingDiverged(
                f"Loss '{term}' became {value} at step {step}; training stopped. Resume from the "
                "last checkpoint with a lower learning rate, a longer warm-up or a clip_norm."
            )
    for name, value in bad.items():
        raise TrainingDiverged(
            f"'{name}' became {value} at step {step} while every loss was finite; training "
            "stopped. Resume from the last checkpoint with a lower learning rate."
        )


class RunLog:
    """Writes what was measured at a logged step to every place that shows it.

    Args:
        run_dir: gets ``history.jsonl`` (one row per logged step, hook results in rows of their
            own) and ``tensorboard/``.
        step: the step from which the run continues; later rows of an earlier run are dropped.
        total_steps: for the time left.
        enabled: False on workers other than the chief, which write nothing.
    """

    def __init__(self, run_dir: Path, step: int, total_steps: int, enabled: bool = True) -> None:
        self.path = run_dir / HISTORY
        self._enabled = enabled
        self._total = total_steps
        self._started = time.monotonic()
        self._first_step = step
        self._bar: rich.progress.Progress | None = None
        if not enabled:
            return
        run_dir.mkdir(parents=True, exist_ok=True)
        _truncate(self.path, step)
        self._writer = tf.summary.create_file_writer(str(run_dir / "tensorboard"))

    def __enter__(self) -> RunLog:
        if self._enabled:
            self._bar = progress_bar()
            self._task = self._bar.add_task("training", total=self._total)
            self._bar.start()
        return self

    def __exit__(self, *unused: object) -> None:
        if self._bar is not None:
            self._bar.stop()
        if self._enabled:
            self._writer.close()

    def advance(self, step: int) -> None:
        """Move the bar, if there is one."""
        if self._bar is not None:
            self._bar.update(self._task, completed=step)

    def write(self, step: int, place: Mapping[str, str], values: Mapping[str, float]) -> None:
        """Log one step: a row of history, the scalars, and the line.

        Args:
            step: updates made so far.
            place: stage and phase.
            values: "loss/<name>", "data_seconds", "step_seconds", … as floats.
        """
        if not self._enabled:
            return
        self._record(step, {**place, **values}, values)
        made = step - self._first_step
        left = (self._total - step) * (time.monotonic() - self._started) / max(1, made)
        shown = " ".join(f"{name.removeprefix('loss/')} {v:.4g}" for name, v in values.items())
        names = "/".join(place.values())
        logger.info("step %d/%d %s %s eta %s", step, self._total, names, shown, _duration(left))

    def write_hook(self, step: int, name: str, values: Mapping[str, float]) -> None:
        """Log what a hook (an evaluation) returned."""
        if not self._enabled or not values:
            return
        scalars = {f"{name}/{key}": float(value) for key, value in values.items()}
        self._record(step, {"hook": name, **scalars}, scalars)
        shown = " ".join(f"{key} {value:.4g}" for key, value in values.items())
        logger.info("step %d/%d %s: %s", step, self._total, name, shown)

    def _record(self, step: int, row: Mapping[str, Any], scalars: Mapping[str, float]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **row}) + "\n")
        with self._writer.as_default():
            for name, value in scalars.items():
                _write_scalar(name, value, step)
        self._writer.flush()


def read_history(path: Path) -> list[dict[str, Any]]:
    """Rows of a history file; a last line that a crash cut short is left out."""
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows


def _write_scalar(name: str, value: float, step: int) -> None:
    """What `tf.summary.scalar` writes, without TensorBoard having to be installed."""
    plugin = tf.compat.v1.SummaryMetadata.PluginData(plugin_name="scalars")
    metadata = tf.compat.v1.SummaryMetadata(plugin_data=plugin, data_class="DATA_CLASS_SCALAR")
    tf.summary.write(name, tf.constant(value, tf.float32), step=step, metadata=metadata)


def _truncate(path: Path, step: int) -> None:
    """Drop rows after ``step``: the resumed run writes them again."""
    rows = [row for row in read_history(path) if row["step"] <= step]
    temporary = path.with_suffix(".tmp")
    temporary.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    temporary.replace(path)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"
