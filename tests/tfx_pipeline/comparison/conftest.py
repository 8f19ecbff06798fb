"""Finished trainings as folders, without training: what an evaluation writes."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tfx_pipeline.comparison.budget import Budget
from tfx_pipeline.comparison.run import Contestant, Finished
from tfx_pipeline.trials.result import EVALUATION_DIR, TrialResult


@pytest.fixture
def contestant(tmp_path):
    """Make a contestant of recall values (or rows of (language, value)) per query and seed."""

    def make(name, *seeds, error="", keys=None, metrics=None, collapsed=()):
        runs = []
        for seed, values in enumerate(seeds):
            run = tmp_path / f"{name}-{seed}"
            (run / EVALUATION_DIR).mkdir(parents=True)
            rows = len(values)
            table = {
                "direction": ["text_to_image"] * rows,
                "key": keys or [f"query {row}" for row in range(rows)],
                "language": ["en" if row % 2 == 0 else "zh" for row in range(rows)],
                "recall@10": [float(value) for value in values],
                "recall@10/count": [1] * rows,
            }
            pq.write_table(pa.table(table), run / EVALUATION_DIR / "per_query.parquet")
            intervals = {"intervals": {"zero_shot/accuracy@1": [0.1, 0.3]}}
            (run / EVALUATION_DIR / "intervals.json").write_text(json.dumps(intervals))
            found = {
                "recall@10": sum(values) / rows,
                "language=en/recall@10": sum(values[::2]) / len(values[::2]),
                "zero_shot/accuracy@1": 0.2,
                "modality_gap": 0.5,
                **(metrics or {}),
            }
            result = TrialResult(
                evaluation_key="",
                parameters={"image_tower": 1_500_000, "trainable": 2_000_000, "total": 4_000_000},
                samples_per_second=100.0 * (seed + 1),
                seconds=10.0,
                peak_memory_mib=1000.0 + seed,
                peak_gpu_memory_mib=None,
                losses={"contrastive": 1.25},
                metrics=found,
                collapsed=collapsed[seed] if collapsed else "",
            )
            runs.append(Finished(seed, run, result))
        return Contestant(name, "clip", Budget(40, 16, 1, 4), tuple(runs), error)

    return make
