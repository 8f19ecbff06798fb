"""open_clip's training step on PyTorch, as train_step.py asks for it: rounds over stdin and stdout.

Runs in the environment of requirements/bench.txt, so it imports nothing of this project. The
arguments are the setting (`Setting` of train_step.py as JSON) and the precisions. The first line
out counts the parameters; then each line in, ``{"precision", "steps"}``, is answered by the wall
and CPU time of these steps, the last loss, and the CPU time used while waiting for the request.
"""

from __future__ import annotations

import contextlib
import enum
import importlib.util
import json
import math
import sys
import time
import types
from collections.abc import Callable
from typing import Any

import torch


def main() -> None:
    setting = json.loads(sys.argv[1])
    torch.set_num_threads(setting["threads"])
    torch.manual_seed(0)
    if importlib.util.find_spec("torchvision") is None:
        stand_in_for_torchvision()
    steps = {name: training_step(setting, name) for name in sys.argv[2:]}
    answer(parameters=steps[sys.argv[2]][1])
    used = time.process_time()
    for line in sys.stdin:
        idle = time.process_time() - used
        request = json.loads(line)
        step = steps[request["precision"]][0]
        started, used = time.perf_counter(), time.process_time()
        for _ in range(request["steps"]):
            loss = step()
        seconds, cpu = time.perf_counter() - started, time.process_time() - used
        answer(seconds=seconds, cpu=cpu, loss=float(loss), idle_cpu=idle)
        used = time.process_time()


def answer(**values: float) -> None:
    print(json.dumps(values), flush=True)


def training_step(
    setting: dict[str, Any], precision: str
) -> tuple[Callable[[], torch.Tensor], int]:
    """The step of open_clip's ``train_one_epoch`` on one batch, and the number of parameters.

    bf16 is its ``--precision amp_bf16``. The batch is as its loader gives it: images already
    normalised. The optimiser is that of its ``main``, weight decay for matrices alone.
    """
    import open_clip
    from open_clip.loss import ClipLoss

    batch, length, words = setting["batch"], setting["text_length"], setting["vocabulary_size"]
    model = open_clip.CLIP(
        embed_dim=setting["embedding_dim"],
        vision_cfg={
            "layers": setting["image_layers"],
            "width": setting["width"],
            "head_width": setting["width"] // setting["heads"],
            "patch_size": setting["patch_size"],
            "image_size": setting["image_size"],
        },
        text_cfg={
            "context_length": length,
            "vocab_size": words,
            "width": setting["width"],
            "heads": setting["heads"],
            "layers": setting["text_layers"],
        },
        quick_gelu=setting["activation"] == "quick_gelu",
        output_dict=True,
    ).train()
    criterion = ClipLoss()
    named = list(model.named_parameters())
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for _, p in named if p.ndim < 2], "weight_decay": 0.0},
            {"params": [p for _, p in named if p.ndim >= 2], "weight_decay": 0.2},
        ],
        lr=5e-4,
        betas=(0.9, 0.98),
        eps=1e-6,
    )
    images = torch.randn(batch, 3, setting["image_size"], setting["image_size"])
    texts = torch.randint(1, words - 1, (batch, length))
    texts[:, -1] = words - 1  # the end token, which open_clip finds as the highest id

    def autocast() -> contextlib.AbstractContextManager[Any]:
        if precision == "bf16":
            return torch.autocast("cpu", dtype=torch.bfloat16)
        return contextlib.nullcontext()

    def step() -> torch.Tensor:
        optimizer.zero_grad()
        with autocast():
            loss = criterion(**model(images, texts))
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, math.log(100))
        return loss.detach()

    return step, sum(parameter.numel() for _, parameter in named)


def stand_in_for_torchvision() -> None:
    """Let open_clip be imported without torchvision, which its towers do not use."""

    class Absent(types.ModuleType):
        InterpolationMode = enum.Enum("InterpolationMode", "BILINEAR BICUBIC")

        def __getattr__(self, name: str) -> type:
            if name.startswith("__"):
                raise AttributeError(name)
            return type(name, (), {})

    for name in ("", ".ops", ".ops.misc", ".transforms", ".transforms.functional"):
        module = sys.modules["torchvision" + name] = Absent("torchvision" + name)
        parent, _, child = module.__name__.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, module)


if __name__ == "__main__":
    main()
