"""Trains systems one after the other, as a process with the JSON file of a plan.

{"pattern": …, "devices": …, "jobs": [{"system": …, "run_dir": …, "settings": {…}, "kill_at": …}]};
the process kills itself with SIGKILL after the step ``kill_at`` of a job, unless that is null.
"""

import json
import os
import signal
import sys
from pathlib import Path


def main(path):
    from tiny_systems import make_trainer

    from vl_models.errors import Interrupted
    from vl_models.training.strategy import make_strategy

    plan = json.loads(Path(path).read_text(encoding="utf-8"))
    # The strategy comes before anything else that uses TensorFlow.
    strategy = make_strategy(plan["devices"])
    for job in plan["jobs"]:

        def kill(step, model, last=job["kill_at"]):
            if step == last:
                os.kill(os.getpid(), signal.SIGKILL)
            return {}

        hooks = [{"name": "kill", "every": 1}]
        trainer = make_trainer(
            job["system"],
            job["run_dir"],
            plan["pattern"],
            strategy,
            functions={"kill": kill},
            **{**job["settings"], "hooks": hooks},
        )
        try:
            trainer.fit()
        except Interrupted as stop:
            print(stop, flush=True)
            sys.exit(130)
        print(job["system"], trainer.step, flush=True)


if __name__ == "__main__":
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    folder = Path(__file__).parent
    sys.path[:0] = [str(folder), str(folder.parents[2])]
    main(sys.argv[1])
