"""CLIP's training step against open_clip's on PyTorch: forward, loss, backward, AdamW; samples/s.

A ViT of 6 layers x 256 (patch 8, 64 px) and a causal text transformer of 4 layers x 256 (16
tokens of 8,192 words), batch 128, two threads each. Ours is the trainer's compiled step. Rounds
alternate on the same cores, the idle side is checked to be idle, and a ratio is the median over
rounds of ours to open_clip's of the same round: what else runs slows both down. Both sides take
one batch again and again; ours normalises uint8 pixels in the step, open_clip's loader outside.

bf16 is mixed_bfloat16 against autocast. Without --precision it is measured only where the CPU
multiplies bfloat16 (AVX512-BF16, AMX): elsewhere a step of PyTorch's takes minutes.

open_clip runs in an environment of its own, made in build/bench-env from requirements/bench.txt, or
with the interpreter that --python names; _pytorch.py says more.

    python benchmarks/train_step.py [--precision fp32 bf16] [--activation quick_gelu] [--rounds 7]
                                    [--steps 3] [--python PATH] [--ours-only] [--smoke]
                                    [--json FILE]
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf
from _pytorch import (
    IDLE_BAR,
    Side,
    alternate,
    bench_python,
    idle_share,
    our_side,
    ratio_of_speeds,
    torch_side,
    trainer_step,
)
from _shared import Results, argument_parser

from vl_models.models.registry import model_config_from_dict
from vl_models.precision import resolve_precision

PRECISIONS = {"fp32": "float32", "bf16": "mixed_bfloat16"}


@dataclass(frozen=True)
class Setting:
    """What both sides build."""

    activation: str
    batch: int = 128
    image_size: int = 64
    patch_size: int = 8
    image_layers: int = 6
    text_layers: int = 4
    width: int = 256
    heads: int = 4
    embedding_dim: int = 256
    text_length: int = 16
    vocabulary_size: int = 8192
    threads: int = 2


SMALL = {"batch": 8, "image_size": 16, "image_layers": 1, "text_layers": 1, "vocabulary_size": 64}


def clip_step(setting: Setting, precision: str) -> tuple[Callable[[], tf.Tensor], int]:
    """The trainer's compiled step on one batch, returning the loss; and the parameters' number."""
    transformer = {
        "width": setting.width,
        "heads": setting.heads,
        "activation": setting.activation,
    }
    config = model_config_from_dict(
        {
            "system": "clip",
            "image": {
                "kind": "vit",
                "patch_size": setting.patch_size,
                "depth": setting.image_layers,
                **transformer,
            },
            "text": {
                "kind": "transformer",
                "depth": setting.text_layers,
                "causal": True,
                "pooling": "eot",
                **transformer,
            },
            "embedding_dim": setting.embedding_dim,
            "image_size": setting.image_size,
            "max_length": setting.text_length,
            "vocabulary_size": setting.vocabulary_size,
            "positives": "pairs",
            "precision": PRECISIONS[precision],
        }
    )
    return trainer_step(config, one_batch(setting), weight_decay=0.2)


def one_batch(setting: Setting) -> dict[str, tf.Tensor]:
    random = np.random.default_rng(0)
    side, texts = setting.image_size, (setting.batch, setting.text_length)
    return {
        "image": tf.constant(random.integers(0, 256, (setting.batch, side, side, 3)), tf.uint8),
        "token_ids": tf.constant(random.integers(1, setting.vocabulary_size, texts), tf.int32),
        "text_mask": tf.ones(texts, tf.bool),
    }


def ours(setting: Setting, precisions: list[str]) -> tuple[Side, int]:
    """Our side, and its parameters."""
    tf.config.threading.set_intra_op_parallelism_threads(setting.threads)
    tf.config.threading.set_inter_op_parallelism_threads(setting.threads)
    tf.keras.utils.set_random_seed(0)
    built = {precision: clip_step(setting, precision) for precision in precisions}
    side = our_side({precision: step for precision, (step, _) in built.items()})
    return side, built[precisions[0]][1]


def report(
    results: Results,
    precision: str,
    answers: dict[str, list[dict[str, float]]],
    samples: int,
    parameters: int,
) -> None:
    """Add the speed of each side and their ratio; ``samples`` of one side's round."""
    speeds = {
        name: [samples / answer["seconds"] for answer in rounds] for name, rounds in answers.items()
    }
    for name, rounds in answers.items():
        speed = median(speeds[name])
        cores = median(answer["cpu"] / answer["seconds"] for answer in rounds)
        value = f"{speed:.1f} samples/s on {cores:.1f} cores"
        numbers = {"speed": speed, "cores": cores, "rounds": speeds[name]}
        results.add(f"{name}/{precision}", value, parameters=parameters, **numbers)
    if len(speeds) == 2:
        ratios = ratio_of_speeds(answers, "open_clip")
        ratio = median(ratios)
        results.add(f"ratio_to_open_clip/{precision}", f"{ratio:.2f}", ratio=ratio, rounds=ratios)


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--precision", nargs="+", choices=list(PRECISIONS))
    parser.add_argument("--activation", choices=("gelu", "quick_gelu"), default="gelu")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=3, help="of each side in a round")
    parser.add_argument("--python", type=Path, metavar="PATH", help="has open_clip_torch")
    parser.add_argument("--ours-only", action="store_true", help="without open_clip")
    parser.add_argument("--smoke", action="store_true", help="one tiny round")
    arguments = parser.parse_args()
    setting = Setting(arguments.activation, **(SMALL if arguments.smoke else {}))
    rounds = 1 if arguments.smoke else arguments.rounds
    fast = resolve_precision("auto") == PRECISIONS["bf16"]
    precisions = arguments.precision or (list(PRECISIONS) if fast else ["fp32"])
    if arguments.precision is None and not fast:
        print("bf16 is left out, as this CPU only emulates it: --precision fp32 bf16 measures it.")

    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: setting.threads])
    mine, parameters = ours(setting, precisions)
    sides = {"vlsearch": mine}
    if not arguments.ours_only:
        python = arguments.python or bench_python()
        sides["open_clip"], its_parameters = torch_side(
            python, "open_clip", asdict(setting), precisions
        )
        if parameters != its_parameters:
            raise SystemExit(
                f"The models differ: {parameters} parameters here, {its_parameters} in open_clip's."
            )
    results = Results()
    for precision in precisions:
        answers = alternate(sides, precision, rounds, arguments.steps)
        report(results, precision, answers, setting.batch * arguments.steps, parameters)
        if len(sides) == 2 and not arguments.smoke:
            idle = idle_share(answers, "open_clip")
            results.add(
                f"idle side/{precision}",
                f"{idle:.1%} of a core",
                f"< {IDLE_BAR:.0%}",
                idle < IDLE_BAR,
                idle=idle,
            )
    results.finish(arguments)


if __name__ == "__main__":
    main()
