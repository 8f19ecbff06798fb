"""What our training steps cost: `step`, `systems`, `share` and `memory` of fusion.py."""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import tensorflow as tf
from _pytorch import (
    Side,
    alternate,
    bench_python,
    our_side,
    ratio_of_speeds,
    torch_side,
    trainer_step,
)
from _shared import Results

from vl_models.layers.transformer_block import TransformerBlock
from vl_models.losses.negatives import draw_negatives
from vl_models.losses.optimal_transport import transport_distance
from vl_models.models.registry import model_config_from_dict
from vl_models.tasks.masked_blocks import block_mask
from vl_models.tasks.masked_words import mask_words

STEP_BAR, SHARE_BAR, PARAMETERS_BAR = 1.0, 0.15, 0.01
PRODUCTS_BAR = 1.25
QUERIES = 36  # that CoCa pools an image to: as many as there are patches
PRECISIONS = {"fp32": "float32", "bf16": "mixed_bfloat16"}
MASK_ID = 3
MASKED_SHARE = 0.4  # of the patches, as BEiT masks
Step = Callable[[], tf.Tensor]


@dataclass(frozen=True)
class Setting:
    """What both sides build: a ViLT of 6 × 192 over 36 patches and 16 words."""

    batch: int = 64
    image_size: int = 96
    patch_size: int = 16
    depth: int = 6
    width: int = 192
    heads: int = 3
    text_length: int = 16
    vocabulary_size: int = 8192
    tokens: int = 53
    threads: int = 2

    @property
    def grid(self) -> int:
        """Patches on a side."""
        return self.image_size // self.patch_size

    @property
    def pair_from(self) -> int:
        """First block of VLMo with an expert for pairs: the upper third has one."""
        return 2 * self.depth // 3


SMALL = {
    "batch": 4,
    "image_size": 64,
    "depth": 2,
    "width": 32,
    "heads": 2,
    "text_length": 8,
    "vocabulary_size": 64,
    "tokens": 25,
}


def setting_of(arguments: argparse.Namespace) -> Setting:
    """The sizes that are asked for."""
    return Setting(**(SMALL if arguments.smoke else {}))


def measure_step(arguments: argparse.Namespace, results: Results) -> None:
    """A training step, and one block, against PyTorch's unless ours alone is asked for."""
    precision, setting = arguments.precision, setting_of(arguments)
    python = None if arguments.ours_only else arguments.python or bench_python()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: setting.threads])
    vilt = fusion_of(setting, "vilt", tasks=[{"kind": "itm", "layout": "half"}])
    ours = {
        "vilt": tuple(step_of(setting, vilt, precision, jit) for jit in (False, True)),
        "block": tuple(block_step(setting, precision, jit) for jit in (False, True)),
    }
    for program, ((plain, parameters), (jit, _)) in ours.items():
        sides: dict[str, Side] = {
            "vlsearch": our_side({precision: plain}),
            "XLA": our_side({precision: jit}),
        }
        if python is not None:
            sides[program], others = torch_side(python, program, asdict(setting), [precision])
            if abs(parameters / others - 1) > PARAMETERS_BAR:
                raise SystemExit(f"{program}: {parameters} parameters here, {others} there.")
        answers = alternate(sides, precision, arguments.rounds, arguments.steps)
        milliseconds = {
            name: 1000 * median(answer["seconds"] / arguments.steps for answer in rounds)
            for name, rounds in answers.items()
        }
        what = {"vilt": "step of ViLT", "block": "a block"}[program] + f", {precision}"
        for name, suffix in (("vlsearch", ""), ("XLA", ", jit_compile")):
            own = milliseconds[name]
            numbers: dict[str, Any] = {"milliseconds": {"vlsearch": own}, "parameters": parameters}
            if python is None:
                results.add(what + suffix, f"{own:.0f} ms", **numbers)
                continue
            its = numbers["milliseconds"][program] = milliseconds[program]
            pair = {"vlsearch": answers[name], program: answers[program]}
            ratios = ratio_of_speeds(pair, program)
            results.add(
                what + suffix,
                f"{own:.0f} ms, on PyTorch {its:.0f} ms ({median(ratios):.2f} x)",
                f">= {STEP_BAR:.1f} x",
                median(ratios) >= STEP_BAR,
                rounds=ratios,
                **numbers,
            )


def measure_share(arguments: argparse.Namespace, results: Results) -> None:
    """Negatives, masks and transport as a share of a step that has all of them."""
    setting = setting_of(arguments)
    tasks = [
        {"kind": "itc"},
        {"kind": "itm", "negatives": "hard"},
        {"kind": "mlm"},
        {"kind": "wpa"},
    ]
    step, _ = step_of(setting, fusion_of(setting, "vlmo", pair_from=setting.pair_from, tasks=tasks))
    calls = {"step": step, **mechanisms(setting)}
    side = our_side(calls)
    for name in calls:
        side(name, 2)
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(arguments.rounds):
        for name in calls:
            times[name].append(side(name, arguments.steps)["seconds"] / arguments.steps)
    parts = [name for name in calls if name != "step"]
    shares = [
        sum(times[name][number] for name in parts) / times["step"][number]
        for number in range(arguments.rounds)
    ]
    each = ", ".join(f"{name} {1000 * median(times[name]):.1f} ms" for name in parts)
    results.add(
        "negatives, masks, transport in a step",
        f"{median(shares):.1%} of {1000 * median(times['step']):.0f} ms ({each})",
        f"<= {SHARE_BAR:.0%}",
        median(shares) <= SHARE_BAR,
        shares=shares,
        seconds=times,
    )


def measure_memory(arguments: argparse.Namespace, results: Results) -> None:
    """Peak memory of a training, beside a CLIP's of the same widths; each in its own process."""
    peaks, setting = {}, json.dumps(asdict(setting_of(arguments)))
    # A process starts in seconds, and the other parts try the fusion systems.
    for system in ["clip"] if arguments.smoke else SYSTEMS:
        worker = [sys.executable, str(Path(__file__).resolve()), system, setting]
        answer = subprocess.run(worker, check=True, stdout=subprocess.PIPE, text=True)
        peaks[system] = json.loads(answer.stdout.splitlines()[-1])["mebibytes"]
    value = ", ".join(f"{name} {peak:,.0f} MiB" for name, peak in peaks.items())
    results.add("peak memory that a training adds", value, **peaks)


def step_of(
    setting: Setting, model: dict[str, Any], precision: str = "fp32", jit_compile: bool = False
) -> tuple[Step, int]:
    """The trainer's step of a model, and the number of its parameters."""
    config = model_config_from_dict(
        {
            "image_size": setting.image_size,
            "max_length": setting.text_length,
            "vocabulary_size": setting.vocabulary_size,
            "precision": PRECISIONS[precision],
            **model,
        }
    )
    return trainer_step(config, one_batch(setting), weight_decay=0.01, jit_compile=jit_compile)


def fusion_of(setting: Setting, system: str, **options: Any) -> dict[str, Any]:
    """A fusion system of the setting's sizes."""
    sizes = {key: getattr(setting, key) for key in ("patch_size", "depth", "width", "heads")}
    return {"system": system, "mask_id": MASK_ID, **sizes, **options}


def one_batch(setting: Setting) -> dict[str, tf.Tensor]:
    random = np.random.default_rng(0)
    side, texts = setting.image_size, (setting.batch, setting.text_length)
    return {
        "image": tf.constant(random.integers(0, 256, (setting.batch, side, side, 3)), tf.uint8),
        "token_ids": tf.constant(random.integers(4, setting.vocabulary_size, texts), tf.int32),
        "text_mask": tf.ones(texts, tf.bool),
        "token_continuation": tf.zeros(texts, tf.bool),
        "seed": tf.constant(random.integers(0, 2**31, (setting.batch, 2)), tf.int32),
    }


def block_step(setting: Setting, precision: str, jit_compile: bool) -> tuple[Step, int]:
    """Forward and backward of one block, with a mask of keys."""
    block = TransformerBlock(setting.heads, dtype=PRECISIONS[precision])
    shape = (setting.batch, setting.tokens, setting.width)
    block.build(shape)
    x = tf.random.stateless_normal(shape, (0, 0))
    mask = tf.ones(shape[:2], tf.bool)

    @tf.function(jit_compile=jit_compile)
    def gradients() -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_mean(tf.square(block(x, key_mask=mask)))
        # What is not returned TensorFlow does not compute.
        return [loss, *tape.gradient(loss, [x, *(v.value for v in block.trainable_variables)])]

    def step() -> tf.Tensor:
        return gradients()[0]

    return step, sum(math.prod(variable.shape) for variable in block.trainable_variables)


def mechanisms(setting: Setting) -> dict[str, Step]:
    """What a step does beside its layers, as often as VLMo's does it."""
    batch, rows = one_batch(setting), setting.batch
    cosines = tf.random.stateless_normal([rows, rows], (1, 0))
    own = tf.eye(rows, dtype=tf.bool)
    pairs, patches = 3 * rows, setting.grid**2 + 1
    text = tf.random.stateless_normal([pairs, setting.text_length, setting.width], (2, 0))
    image = tf.random.stateless_normal([pairs, patches, setting.width], (3, 0))

    @tf.function
    def negatives() -> tf.Tensor:
        images, _ = draw_negatives(cosines, own, batch["seed"])
        texts, _ = draw_negatives(tf.transpose(cosines), own, batch["seed"] + 1)
        return tf.reduce_sum(images + texts)

    @tf.function
    def masks() -> tf.Tensor:
        ids, _ = mask_words(
            batch["token_ids"],
            batch["text_mask"],
            batch["token_continuation"],
            batch["text_mask"],
            batch["seed"],
            mask_id=MASK_ID,
            candidates=np.arange(setting.vocabulary_size),
        )
        grid = (setting.grid, setting.grid)
        target = int(MASKED_SHARE * setting.grid**2)
        blocks = block_mask(batch["seed"], grid, target=target, minimum=3, aspect=0.3)
        return tf.reduce_sum(ids) + tf.math.count_nonzero(blocks, dtype=tf.int32)

    @tf.function
    def transport_gradients() -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch([text, image])
            every = [tf.ones(x.shape[:2], tf.bool) for x in (text, image)]
            distance = tf.reduce_mean(transport_distance(text, image, *every))
        return [distance, *tape.gradient(distance, [text, image])]

    def transport() -> tf.Tensor:
        return transport_gradients()[0]

    return {"negatives": negatives, "masks": masks, "transport": transport}


def clip_of(setting: Setting) -> dict[str, Any]:
    """A CLIP whose towers have the fusion encoder's width, heads and depth."""
    tower = {"width": setting.width, "depth": setting.depth, "heads": setting.heads}
    return {
        "system": "clip",
        "embedding_dim": setting.width,
        "image": {"kind": "vit", "patch_size": setting.patch_size, **tower},
        "text": {"kind": "transformer", **tower},
    }


def coca_of(setting: Setting) -> dict[str, Any]:
    """A CoCa over the same towers; the text's blocks are the lower half of a decoder."""
    values = clip_of(setting)
    text = {**values["text"], "kind": "unimodal_decoder"}
    return {
        **values,
        "system": "coca",
        "text": text,
        "queries": QUERIES,
        "pooler_heads": setting.heads,
    }


def soho_of(setting: Setting) -> dict[str, Any]:
    """A SOHO with a ResNet-18 and a dictionary of 2,048, four sentences an image."""
    sizes = {key: getattr(setting, key) for key in ("depth", "width", "heads")}
    side = 32 * max(1, setting.image_size // 32)
    image = {"kind": "resnet"} if setting.depth > 2 else {"kind": "resnet", "width": 8}
    return {
        "system": "soho",
        "mask_id": MASK_ID,
        "image_size": side,
        "image": image,
        "pool": 1,
        **sizes,
    }


def flava_of(setting: Setting) -> dict[str, Any]:
    """A FLAVA without masked patches, whose targets need a trained tokeniser."""
    tasks = [{"kind": "itc", "bias": True}, {"kind": "itm"}]
    half = max(1, setting.depth // 2)
    return fusion_of(setting, "flava", multimodal_depth=half, tasks=tasks)


def multiplications(setting: Setting, system: str) -> int:
    """Multiplications of the matrix products of a forward pass over one row: CLIP's or CoCa's."""
    width, depth, words = setting.width, setting.depth, setting.text_length

    def blocks(tokens: int, context: int = 0) -> int:
        """Of one block over tokens, or of one that reads a context."""
        if context:
            return 10 * tokens * width**2 + 2 * context * width**2 + 2 * tokens * context * width
        return 12 * tokens * width**2 + 2 * tokens**2 * width

    patches = setting.grid**2
    image = 3 * setting.patch_size**2 * patches * width + depth * blocks(patches + 1)
    if system == "clip":
        return image + depth * blocks(words) + 2 * width**2

    def pooler(queries: int, tokens: int) -> int:
        return 2 * (queries + tokens) * width**2 + 2 * queries * tokens * width

    poolers = pooler(QUERIES, patches + 1) + pooler(1, QUERIES)
    lower = depth * blocks(words + 1)
    upper = depth * (blocks(words - 1) + blocks(words - 1, QUERIES))
    vocabulary = (words - 1) * width * setting.vocabulary_size
    return image + poolers + lower + upper + vocabulary + 2 * width**2


def measure_systems(arguments: argparse.Namespace, results: Results) -> None:
    """A step of each system; CoCa's beside CLIP's by what both multiply."""
    setting, precision = setting_of(arguments), arguments.precision
    sides, parameters = {}, {}
    # The others are tried by their own tests.
    for system in ("clip", "coca") if arguments.smoke else SYSTEMS:
        step, parameters[system] = step_of(setting, SYSTEMS[system](setting), precision)
        sides[system] = our_side({precision: step})
    answers = alternate(sides, precision, arguments.rounds, arguments.steps)
    seconds = {
        name: [answer["seconds"] / arguments.steps for answer in rounds]
        for name, rounds in answers.items()
    }
    for system, values in seconds.items():
        results.add(
            f"step of {system}, {precision}",
            f"{1000 * median(values):.0f} ms, {parameters[system] / 1e6:.1f} M parameters",
            seconds=values,
            parameters=parameters[system],
        )
    products = {name: multiplications(setting, name) for name in ("clip", "coca")}
    expected = products["coca"] / products["clip"]
    ratio = median(a / b for a, b in zip(seconds["coca"], seconds["clip"])) / expected
    results.add(
        "CoCa's step over CLIP's, by their multiplications",
        f"{ratio:.2f} x ({expected:.2f} x the multiplications)",
        f"<= {PRODUCTS_BAR} x",
        ratio <= PRODUCTS_BAR,
        products=products,
    )


SYSTEMS: dict[str, Callable[[Setting], dict[str, Any]]] = {
    "clip": clip_of,
    "coca": coca_of,
    "vilt": lambda setting: fusion_of(setting, "vilt", tasks=[{"kind": "itm"}, {"kind": "mlm"}]),
    "vlmo": lambda setting: fusion_of(setting, "vlmo", pair_from=setting.pair_from),
    "soho": soho_of,
    "flava": flava_of,
}


def main() -> None:
    """Print what three steps of a system add to this process's peak memory."""
    setting = Setting(**json.loads(sys.argv[2]))
    before = peak_memory()
    step, _ = step_of(setting, SYSTEMS[sys.argv[1]](setting))
    for _ in range(3):
        step()
    print(json.dumps({"mebibytes": peak_memory() - before}))


def peak_memory() -> float:
    """MiB that this program has held at most; `getrusage` counts what forked it, too."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


if __name__ == "__main__":
    main()
