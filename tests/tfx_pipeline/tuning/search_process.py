"""A search in a process of its own, to be killed: its score is known in closed form.

    python search_process.py FOLDER CONFIG KILL_AT

Appends the id of every trial that runs to FOLDER/ran.txt and dies by SIGKILL in the middle of
trial KILL_AT.
"""

import os
import signal
import sys
from pathlib import Path

from tfx_pipeline.config import ExperimentConfig
from tfx_pipeline.tuning.tuner import ExperimentTuner

folder, kill_at = Path(sys.argv[1]), sys.argv[3]


def run(config, trial_id):
    with (folder / "ran.txt").open("a", encoding="utf-8") as file:
        file.write(f"{trial_id} {config.train.learning_rate!r}\n")
    if trial_id == kill_at:
        os.kill(os.getpid(), signal.SIGKILL)
    return {"recall@10": -abs(config.train.learning_rate - 0.5)}


ExperimentTuner(ExperimentConfig.load(sys.argv[2]), folder, run).search()
