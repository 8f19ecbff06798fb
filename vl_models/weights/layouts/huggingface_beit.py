"""BEiT as Hugging Face's transformers names it: the vision stage of VLMo.

The variables are those of `vl_models.models.vlmo`: attention and the image's experts. Names are
those of transformers 4 (the published files) and 5. Positions are relative, as BEiT's own, or
absolute, as those of models with its architecture (DiT: Li et al. 2022).
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from vl_models.weights.layouts.clip_names import linear, norm
from vl_models.weights.layouts.configuration import fusion_facts
from vl_models.weights.rules import (
    Demand,
    Refusal,
    Rule,
    Shapes,
    WeightLayout,
    first_position,
    other_positions,
    patches,
    transpose,
    vector,
)

_MODEL = r"(?:beit\.)?"
_EMBEDDINGS = rf"{_MODEL}embeddings\."
_LAYER = rf"{_MODEL}(?:encoder\.layer|layers)\.(\d+)\."
_TABLE = r"relative_position_bias_table"
_POSITIONS = rf"{_EMBEDDINGS}position_embeddings"
_BIASES = "encoder/position_bias/image_table"
_CLASS_POSITION = "image_embedding/class_position"
_GRID_POSITIONS = "image_embedding/grid_positions"
_SCALE = "encoder/block_0/attention_scale/scale"
# As query, key and value are named.
_PARTS = (
    r"(?:attention\.query|q_proj)",
    r"(?:attention\.key|k_proj)",
    r"(?:attention\.value|v_proj)",
)


def _image() -> tuple[Rule, ...]:
    image, projection = "image_embedding", rf"{_EMBEDDINGS}patch_embeddings\.projection\."
    return (
        Rule(rf"{projection}weight", f"{image}/projection/kernel", patches),
        Rule(rf"{projection}bias", f"{image}/projection/bias"),
        Rule(rf"{_EMBEDDINGS}cls_token", f"{image}/class_vector", vector),
        Rule(rf"{_EMBEDDINGS}mask_token", f"{image}/mask_vector", vector),
        Rule(_POSITIONS, _CLASS_POSITION, first_position),
        Rule(_POSITIONS, _GRID_POSITIONS, other_positions),
    )


def _encoder() -> tuple[Rule, ...]:
    block, attention = r"encoder/block_\1", rf"{_LAYER}attention\."
    kernels = [
        Rule(rf"{attention}{name}\.weight", f"{block}/attention/qkv/kernel", transpose, part, 3)
        for part, name in enumerate(_PARTS)
    ]
    return (
        *kernels,
        Rule(rf"{attention}{_PARTS[0]}\.bias", f"{block}/attention/query_bias"),
        Rule(rf"{attention}{_PARTS[2]}\.bias", f"{block}/attention/value_bias"),
        *linear(rf"{attention}(?:output\.dense|o_proj)", f"{block}/attention/output"),
        Rule(rf"{_LAYER}lambda_1", f"{block}/attention_scale/scale"),
        Rule(rf"{_LAYER}lambda_2", f"{block}/mlp_scale/scale"),
        *norm(rf"{_LAYER}layernorm_before", f"{block}/attention_norm"),
        *norm(rf"{_LAYER}layernorm_after", f"{block}/image_norm"),
        *linear(rf"{_LAYER}(?:intermediate\.dense|mlp\.fc1)", f"{block}/image_mlp_hidden"),
        *linear(rf"{_LAYER}(?:output\.dense|mlp\.fc2)", f"{block}/image_mlp_output"),
        Rule(
            rf"{_MODEL}(?:encoder\.relative_position_bias|shared_position_bias)\.{_TABLE}",
            _BIASES,
        ),
        # Of a file that was fine-tuned, every block has its own; of a shared one, all are equal.
        Rule(
            rf"{_LAYER}attention\.(?:attention\.)?relative_position_bias\.{_TABLE}",
            _BIASES,
            parts=None,
        ),
        *norm("layernorm", "encoder/norm_after"),
    )


def _facts(folder: Path) -> dict[Any, dict[str, Any]]:
    return {"model": fusion_facts(folder)}


def _grid(shapes: Shapes) -> int | None:
    """Return the number of patches on a side that the positions are for; None without any."""
    if _GRID_POSITIONS in shapes:
        return math.isqrt(shapes[_GRID_POSITIONS][0])
    if _BIASES in shapes:
        # (2 g - 1)² rows for two patches, and three for the class token.
        return (math.isqrt(shapes[_BIASES][0] - 3) + 1) // 2
    return None


def _sections(shapes: Shapes, folder: Path) -> dict[str, Any]:
    """VLMo's vision stage, with the file's sizes."""
    kernel, width = shapes["image_embedding/projection/kernel"]
    patch, facts = math.isqrt(kernel // 3), fusion_facts(folder)
    depth = len([path for path in shapes if path.endswith("/image_mlp_hidden/bias")])
    hidden = shapes["encoder/block_0/image_mlp_hidden/bias"][0]
    grid = _grid(shapes)
    return {
        "model": {
            "system": "vlmo",
            **({} if grid is None else {"image_size": patch * grid}),
            "width": width,
            "depth": depth,
            "heads": max(1, width // facts["head_width"]),
            "mlp_ratio": hidden / width,
            "patch_size": patch,
            "pair_from": depth,
            "epsilon": facts["epsilon"],
            **({"relative_positions": False} if _GRID_POSITIONS in shapes else {}),
            **({} if _SCALE in shapes else {"layer_scale": None}),
            "tasks": [{"kind": "mim", "tokenizer": "build/image_tokenizer"}],
        },
    }


HUGGINGFACE_BEIT = WeightLayout(
    name="huggingface_beit",
    sign=rf"(module\.)?(beit\.|{_LAYER}lambda_1)",
    rules=(*_image(), *_encoder(), *linear("lm_head", "mim_head")),
    ignored=(r".*relative_position_index",),
    refusals=(
        Refusal(
            _POSITIONS,
            "model",
            "a BEiT with absolute and relative positions at once",
            beside=rf".*{_TABLE}",
        ),
    ),
    kinds={},
    facts=_facts,
    configuration="config.json",
    caveat="unless the config.json that belongs to the file, and should lie beside it, differs",
    systems=("vlmo",),
    required=(
        "image_embedding/*",
        "encoder/block_*/attention*",
        "encoder/block_*/mlp_scale/*",
        "encoder/block_*/image_*",
        _BIASES,
        "encoder/norm_after/*",
    ),
    demands=(
        Demand(_CLASS_POSITION, "positions are absolute, set model.relative_positions: false"),
        Demand(_BIASES, "positions are relative, set model.relative_positions: true"),
        Demand(_SCALE, "branches are scaled, set model.layer_scale to a number"),
    ),
    token_embedding="",
    text_positions="",
    image_positions=_GRID_POSITIONS,
    bias_table=_BIASES,
    # BEiT has one modality, so that nothing tells it from others.
    zeros=(
        "image_embedding/type_vectors",
        "encoder/position_bias/cross_table",
        "encoder/position_bias/text_table",
    ),
    sections=_sections,
)
