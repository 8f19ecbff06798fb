"""What one trial leaves behind: what it cost and how good it became."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serving.files import write_atomically
from tfx_pipeline.fingerprint import fingerprint_code, fingerprint_text

if TYPE_CHECKING:
    from tfx_pipeline.config import ExperimentConfig

RESULT_FILE = "result.json"
FAILURE_FILE = "failure.txt"  # what a trial's process had to complain about
WRONG_INPUT, INTERRUPTED = 2, 130  # its exit codes, beside 0 and the unexpected
EVALUATION_DIR = "evaluation"
_EVALUATION_CODE = (
    "tfx_pipeline/evaluation",
    "tfx_pipeline/trials",
    "vl_models/hashing.py",
    "vl_models/metrics",
    "vl_models/zero_shot.py",
)


@dataclasses.dataclass(frozen=True)
class TrialResult:
    """One finished training with its evaluation.

    Attributes:
        evaluation_key: of the settings and the code that measured it.
        parameters: numbers of the exported towers by name, and of the model: "trainable", and
            "total" with what no optimiser changes (momentum copies, queues, statistics).
        samples_per_second: median over the logged steps but the first, which compiles; None if
            there is no other.
        seconds: of training and export, from start to end of each process that took part.
        peak_memory_mib: most memory that a training process held at once.
        peak_gpu_memory_mib: the same of the first GPU; None without one.
        losses: each term at the last logged step.
        collapsed: which losses ended at the value of equal embeddings; empty if none.
        metrics: key → value, None where undefined.
    """

    evaluation_key: str
    parameters: dict[str, int]
    samples_per_second: float | None
    seconds: float
    peak_memory_mib: float
    peak_gpu_memory_mib: float | None
    losses: dict[str, float]
    metrics: dict[str, float | None]
    collapsed: str = ""

    def write(self, run: Path) -> None:
        """Put it into the run's folder, in one piece."""
        write_json(run / RESULT_FILE, dataclasses.asdict(self))

    @classmethod
    def read(cls, run: Path, evaluation_key: str) -> TrialResult | None:
        """Return the result in a run's folder; None if there is none of this evaluation."""
        values = read_json(run / RESULT_FILE)
        if values is None or values["evaluation_key"] != evaluation_key:
            return None
        return cls(**values)


def evaluation_key(config: ExperimentConfig) -> str:
    """Of what a measurement depends on, beside towers and data."""
    settings = config.model_dump_json(include={"evaluate": True})
    return fingerprint_text(settings, fingerprint_code(*_EVALUATION_CODE))


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file and rename it into place."""
    write_atomically(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Content of a JSON file, None if there is no such file."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
