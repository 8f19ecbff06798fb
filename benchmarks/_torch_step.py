"""Training steps on PyTorch, as `_pytorch.py` asks for them: rounds over stdin and stdout.

Runs in the environment of requirements/bench.txt, so it imports nothing of this project. The
arguments are the program ("open_clip", "vilt" or "block"), the setting as JSON, and the precisions.
The first line out counts the parameters; then each line in, ``{"precision", "steps"}``, is answered
by the wall and CPU time of these steps, the last loss, and the CPU time used while waiting for the
request.
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
    make, setting = PROGRAMS[sys.argv[1]], json.loads(sys.argv[2])
    torch.set_num_threads(setting["threads"])
    torch.manual_seed(0)
    steps = {name: make(setting, name) for name in sys.argv[3:]}
    answer(parameters=steps[sys.argv[3]][1])
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


def autocast(precision: str) -> contextlib.AbstractContextManager[Any]:
    if precision == "bf16":
        return torch.autocast("cpu", dtype=torch.bfloat16)
    return contextlib.nullcontext()


def open_clip_step(
    setting: dict[str, Any], precision: str
) -> tuple[Callable[[], torch.Tensor], int]:
    """The step of open_clip's ``train_one_epoch`` on one batch, and the number of parameters.

    bf16 is its ``--precision amp_bf16``. The batch is as its loader gives it: images already
    normalised. The optimiser is that of its ``main``, weight decay for matrices alone.
    """
    if importlib.util.find_spec("torchvision") is None:
        stand_in_for_torchvision()
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

    def step() -> torch.Tensor:
        optimizer.zero_grad()
        with autocast(precision):
            loss = criterion(**model(images, texts))
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, math.log(100))
        return loss.detach()

    return step, sum(parameter.numel() for _, parameter in named)


def vilt_step(setting: dict[str, Any], precision: str) -> tuple[Callable[[], torch.Tensor], int]:
    """Matching by transformers' ViltModel and two classes on its pooled vector, AdamW."""
    from transformers import ViltConfig, ViltModel

    batch, length, side = setting["batch"], setting["text_length"], setting["image_size"]
    config = ViltConfig(
        vocab_size=setting["vocabulary_size"],
        hidden_size=setting["width"],
        num_hidden_layers=setting["depth"],
        num_attention_heads=setting["heads"],
        intermediate_size=4 * setting["width"],
        image_size=side,
        patch_size=setting["patch_size"],
        max_position_embeddings=length,
        max_image_length=(side // setting["patch_size"]) ** 2,
        hidden_dropout_prob=0.0,
    )
    model = torch.nn.ModuleList([ViltModel(config), torch.nn.Linear(setting["width"], 2)]).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.01)
    inputs = {
        "input_ids": torch.randint(1, setting["vocabulary_size"], (batch, length)),
        "attention_mask": torch.ones(batch, length, dtype=torch.long),
        "pixel_values": torch.randn(batch, 3, side, side),
        "pixel_mask": torch.ones(batch, side, side, dtype=torch.long),
    }
    labels = torch.arange(batch) % 2

    def step() -> torch.Tensor:
        optimizer.zero_grad()
        with autocast(precision):
            logits = model[1](model[0](**inputs).pooler_output)
            loss = torch.nn.functional.cross_entropy(logits, labels)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step, sum(parameter.numel() for parameter in model.parameters())


def block_step(setting: dict[str, Any], precision: str) -> tuple[Callable[[], torch.Tensor], int]:
    """Forward and backward of one block with `F.scaled_dot_product_attention` and a key mask."""
    functional, width, heads = torch.nn.functional, setting["width"], setting["heads"]
    batch, tokens = setting["batch"], setting["tokens"]

    class Block(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention_norm = torch.nn.LayerNorm(width)
            self.qkv = torch.nn.Linear(width, 3 * width)
            self.output = torch.nn.Linear(width, width)
            self.mlp_norm = torch.nn.LayerNorm(width)
            self.hidden = torch.nn.Linear(width, 4 * width)
            self.mlp_output = torch.nn.Linear(4 * width, width)

        def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            qkv = self.qkv(self.attention_norm(x)).view(batch, tokens, 3, heads, width // heads)
            query, key, value = qkv.permute(2, 0, 3, 1, 4)
            found = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
            x = x + self.output(found.transpose(1, 2).reshape(batch, tokens, width))
            return x + self.mlp_output(functional.gelu(self.hidden(self.mlp_norm(x))))

    block = Block()
    x = torch.randn(batch, tokens, width, requires_grad=True)
    mask = torch.ones(batch, 1, 1, tokens, dtype=torch.bool)

    def step() -> torch.Tensor:
        block.zero_grad()
        x.grad = None
        with autocast(precision):
            loss = block(x, mask).square().mean()
        loss.backward()
        return loss.detach()

    return step, sum(parameter.numel() for parameter in block.parameters())


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


PROGRAMS = {"open_clip": open_clip_step, "vilt": vilt_step, "block": block_step}


if __name__ == "__main__":
    main()
