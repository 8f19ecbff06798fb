"""Our training step beside that of a program on PyTorch: rounds in turns on the same cores.

PyTorch runs in an environment of its own, made in build/bench-env from requirements/bench.txt, or
with the interpreter that --python names. Its CPU build is not on every package index;
PIP_FIND_LINKS or PIP_EXTRA_INDEX_URL tell pip where it is.
"""

from __future__ import annotations

import json
import math
import subprocess
import time
import venv
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

from vl_models.models.base_config import ModelConfig
from vl_models.models.registry import build_model
from vl_models.training.config import OptimizerConfig, PhaseConfig
from vl_models.training.optimizers import build_groups
from vl_models.training.schedules import ScheduleConfig
from vl_models.training.step import compile_steps
from vl_models.training.strategy import make_strategy

REPOSITORY = Path(__file__).resolve().parent.parent
REQUIREMENTS = REPOSITORY / "requirements" / "bench.txt"
ENVIRONMENT = REPOSITORY / "build" / "bench-env"
WORKER = Path(__file__).with_name("_torch_step.py")
IDLE_BAR = 0.02  # of one core

# Makes so many steps; returns "seconds" of wall time, "cpu" seconds of this process, and the
# last "loss".
Side = Callable[[str, int], dict[str, float]]


def trainer_step(
    config: ModelConfig,
    batch: Mapping[str, tf.Tensor],
    weight_decay: float,
    jit_compile: bool = False,
) -> tuple[Callable[[], tf.Tensor], int]:
    """The trainer's compiled step on one batch, returning the first loss; and the parameters."""
    strategy = make_strategy("cpu")
    with strategy.scope():
        model = build_model(config)
        optimizer = OptimizerConfig(kind="adamw", weight_decay=weight_decay)
        groups = build_groups("", [optimizer], model.trainable_variables, ScheduleConfig())
    steps = compile_steps(model, strategy, PhaseConfig(), groups, jit_compile=jit_compile)
    stop, loss = tf.constant(0.0), f"loss/{model.loss_names[0]}"
    count = sum(math.prod(variable.shape) for variable in model.trainable_variables)
    return lambda: steps.update(batch, stop)[loss], count


def our_side(steps: Mapping[str, Callable[[], tf.Tensor]]) -> Side:
    """Our side, of a step that returns its loss for each precision."""

    def make_steps(precision: str, count: int) -> dict[str, float]:
        started, used = time.perf_counter(), time.process_time()
        for _ in range(count):
            loss = steps[precision]()
        return {
            "loss": float(loss),
            "seconds": time.perf_counter() - started,
            "cpu": time.process_time() - used,
        }

    return make_steps


def torch_side(
    python: Path, program: str, setting: Mapping[str, Any], precisions: list[str]
) -> tuple[Side, int]:
    """The side of a program of `_torch_step.py`, in a process that ends with this one.

    Also its number of parameters. Its answers have the CPU time between the requests too:
    "idle_cpu".
    """
    # Isolated: neither PYTHONPATH nor the folder of this script, with its serving.py.
    process = subprocess.Popen(
        [python, "-I", WORKER, program, json.dumps(setting), *precisions],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None and process.stdout is not None
    requests, answers = process.stdin, process.stdout

    def answer() -> dict[str, float]:
        line = answers.readline()
        if not line:
            raise SystemExit(
                f"{program} on PyTorch, run by {python}, ended with status {process.wait()}; its "
                f"error is above. The interpreter needs what {REQUIREMENTS} lists."
            )
        return json.loads(line)

    def make_steps(precision: str, steps: int) -> dict[str, float]:
        print(json.dumps({"precision": precision, "steps": steps}), file=requests, flush=True)
        return answer()

    return make_steps, int(answer()["parameters"])


def bench_python() -> Path:
    """The interpreter of the environment with PyTorch, made if it is not there."""
    python, stamp = ENVIRONMENT / "bin" / "python", ENVIRONMENT / "requirements.txt"
    wanted = REQUIREMENTS.read_text(encoding="utf-8")
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != wanted:
        venv.create(ENVIRONMENT, clear=True, with_pip=True)
        install = [python, "-m", "pip", "install", "--quiet", "--no-deps", "-r", REQUIREMENTS]
        if subprocess.run(install).returncode:
            raise SystemExit(
                f"pip could not install {REQUIREMENTS} into {ENVIRONMENT}. If it did not find "
                "PyTorch's CPU build, tell it where that is (PIP_FIND_LINKS, "
                "PIP_EXTRA_INDEX_URL), or name an interpreter that has it with --python."
            )
        stamp.write_text(wanted, encoding="utf-8")
    return python


def alternate(
    sides: dict[str, Side], precision: str, rounds: int, steps: int
) -> dict[str, list[dict[str, float]]]:
    """The answers of every round by side, each with the CPU time of this process meanwhile.

    Who begins changes from round to round, so that a machine growing slower favours nobody.
    """
    for make_steps in sides.values():
        make_steps(precision, 1)  # compiles
    answers: dict[str, list[dict[str, float]]] = {name: [] for name in sides}
    for number in range(rounds):
        for name in sorted(sides, reverse=number % 2 == 0):
            used = time.process_time()
            answer = sides[name](precision, steps)
            if not math.isfinite(answer["loss"]):
                raise SystemExit(f"{name}, {precision}: the loss is {answer['loss']}.")
            answers[name].append({**answer, "our_cpu": time.process_time() - used})
    return answers


def ratio_of_speeds(answers: Mapping[str, list[dict[str, float]]], other: str) -> list[float]:
    """How many times as fast as the other side ours was, in each round."""
    mine = answers["vlsearch"]
    return [its["seconds"] / own["seconds"] for own, its in zip(mine, answers[other], strict=True)]


def idle_share(answers: Mapping[str, list[dict[str, float]]], other: str) -> float:
    """CPU time of the side that waits, over the wall time of the one that runs; the larger one."""
    mine, its = answers["vlsearch"], answers[other]
    waited = sum(answer["seconds"] for answer in its)
    ours_idle = sum(answer["our_cpu"] for answer in its) / waited
    return max(ours_idle, sum(a["idle_cpu"] for a in its) / sum(a["seconds"] for a in mine))
