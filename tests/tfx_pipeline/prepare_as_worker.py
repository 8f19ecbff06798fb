"""One worker of two, as a process: DATA OUT. Tries four preparations and prints what was said."""

import os
import sys
from pathlib import Path


def main(data, out):
    from tests.tfx_pipeline.conftest import TINY
    from tfx_pipeline.config import ExperimentConfig
    from tfx_pipeline.training_run import TrainingRun
    from tfx_pipeline.worker_run import prepare_on_chief
    from vl_models.errors import UserError
    from vl_models.training.strategy import make_strategy
    from vl_models.training.workers import worker_place

    strategy = make_strategy("cpu")
    chief = worker_place(strategy).is_chief

    def prepare(case, folder, data_folder, *overrides):
        given = (*TINY, f"data.folder={data_folder}", *overrides)
        config = ExperimentConfig.load("configs/emoji.yaml", given)
        run = TrainingRun(out / folder)
        try:
            prepare_on_chief(run, config, strategy, timeout=0.5)
            print(f"{case}: done", flush=True)
        except UserError as error:
            print(f"{case}: {error}", flush=True)
        finally:
            run.lock.release()

    prepare("no data", "shared", data / "missing")
    prepare("other folder", "shared" if chief else "elsewhere", data)
    prepare("other settings", "shared", data, *(() if chief else ("train.learning_rate=0.2",)))
    prepare("all well", "shared2", data)


if __name__ == "__main__":
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    main(Path(sys.argv[1]), Path(sys.argv[2]))
