"""ResNets as torchvision names them: the image encoder of any system that has one of this kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from vl_models.weights.rules import Rule, Shapes, WeightLayout, blocks

_STAGES = 4
# ImageNet's statistics, with which these weights are published.
_PIXELS = {
    "mean": (0.485, 0.456, 0.406),
    "standard_deviation": (0.229, 0.224, 0.225),
}
_STEM = "image_encoder/stem/convolution/kernel"


def _kernel(values: np.ndarray) -> np.ndarray:
    """A convolution [out, in, h, w] as a kernel [h, w, in, out]."""
    return values.transpose(2, 3, 1, 0)


def _convolution(convolution: str, norm: str, target: str) -> tuple[Rule, ...]:
    """A convolution without bias and the batch normalisation behind it."""
    return (
        Rule(rf"{convolution}\.weight", f"{target}/convolution/kernel", _kernel),
        Rule(rf"{norm}\.weight", f"{target}/norm/gamma"),
        Rule(rf"{norm}\.bias", f"{target}/norm/beta"),
        Rule(rf"{norm}\.running_mean", f"{target}/norm/moving_mean"),
        Rule(rf"{norm}\.running_var", f"{target}/norm/moving_variance"),
    )


def _stage(number: int) -> tuple[Rule, ...]:
    block, target = rf"layer{number + 1}\.(\d+)\.", rf"image_encoder/stage_{number}_block_\1"
    parts = [
        _convolution(rf"{block}conv{part + 1}", rf"{block}bn{part + 1}", f"{target}/part_{part}")
        for part in range(3)
    ]
    shortcut = _convolution(
        rf"{block}downsample\.0", rf"{block}downsample\.1", f"{target}/shortcut"
    )
    return (*(rule for part in parts for rule in part), *shortcut)


def _facts(folder: Path) -> dict[Any, dict[str, Any]]:
    return {"image": dict(_PIXELS)}


def _sections(shapes: Shapes, folder: Path) -> dict[str, Any]:
    """SOHO over a ResNet of the file's sizes."""
    is_bottleneck = "image_encoder/stage_0_block_0/part_2/convolution/kernel" in shapes
    return {
        "model": {
            "system": "soho",
            "image": {
                "kind": "resnet",
                "blocks": [
                    blocks(shapes, f"image_encoder/stage_{stage}_block") for stage in range(_STAGES)
                ],
                "block": "bottleneck" if is_bottleneck else "basic",
                "width": shapes[_STEM][3],
                **{key: list(values) for key, values in _PIXELS.items()},
            },
        },
        "input": {"crop_scale": [1.0, 1.0]},
    }


TORCHVISION_RESNET = WeightLayout(
    name="torchvision_resnet",
    sign=r"(module\.)?layer1\.0\.conv1\.weight",
    rules=(
        *_convolution("conv1", "bn1", "image_encoder/stem"),
        *(rule for stage in range(_STAGES) for rule in _stage(stage)),
    ),
    ignored=(r".*num_batches_tracked", r"fc\.(weight|bias)"),
    refusals=(),
    kinds={"image": "resnet"},
    facts=_facts,
    required=("image_encoder/*",),
    token_embedding="",
    text_positions="",
    image_positions="",
    sections=_sections,
)
