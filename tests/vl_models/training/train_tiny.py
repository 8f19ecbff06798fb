"""Trains the tiny model: imported, or as a process with RUN_DIR PATTERN SECONDS_PER_STEP."""

import os
import sys
import time
from pathlib import Path


def settings(**changes):
    return {
        "seed": 3,
        "global_batch_size": 4,
        "texts_per_image": 2,
        "shuffle_buffer": 5,
        "steps": 12,
        "accumulation_steps": 2,
        "learning_rate": 0.02,
        "clip_norm": 0.3,
        "log_every": 1,
        "checkpoint_every": 4,
        "hooks": [{"name": "sleep", "every": 1}],
        **changes,
    }


def train(run_dir, pattern, strategy, seconds=0.0, **changes):
    """Train, sleeping after each step; returns the result."""
    import tiny

    from vl_models.training.config import TrainConfig
    from vl_models.training.trainer import Trainer

    def sleep(step, model):
        time.sleep(seconds)
        return {}

    config = TrainConfig.model_validate(settings(**changes))
    sources = [tiny.source(pattern)]
    hooks = {"sleep": sleep}
    return Trainer(tiny.LinearDualEncoder, config, Path(run_dir), strategy, sources, hooks).fit()


if __name__ == "__main__":
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    folder = Path(__file__).parent
    sys.path[:0] = [str(folder), str(folder.parents[2])]

    from vl_models.training.strategy import make_strategy

    run, files, pause = sys.argv[1:]
    # The strategy comes before anything else that uses TensorFlow.
    print(train(run, files, make_strategy("cpu"), float(pause)), flush=True)
