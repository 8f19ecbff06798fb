"""open_clip's CoCa, with a single attentional pooler (its released models) or two.

Texts that are shorter than the file's take its first positions, and the class token the one behind
them, as the program itself does. Its models were trained with the class token at the last position:
``max_length`` is best left at what `vlsearch weights inspect` says.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from vl_models.weights.layouts.clip_names import (
    PIXELS,
    TEMPERATURE,
    linear,
    norm,
    resblocks,
    visual,
)
from vl_models.weights.layouts.configuration import read_configuration, section
from vl_models.weights.rules import (
    Demand,
    Refusal,
    Rule,
    Shapes,
    WeightLayout,
    blocks,
    transpose,
)

_CONFIGURATION = "open_clip_config.json"
_POOLING, _DECODER = "image_pooling", "text_decoder"
_CONTRASTIVE = f"{_POOLING}/contrastive_pooler/query_vectors"


def _query_kernel(values: np.ndarray) -> np.ndarray:
    """Of queries, keys and values [3 W, in] the kernel [in, W] of the queries."""
    return values[: len(values) // 3].T


def _key_value_kernel(values: np.ndarray) -> np.ndarray:
    """Of queries, keys and values [3 W, in] the kernel [in, 2 W] of keys and values."""
    return values[len(values) // 3 :].T


def _query_bias(values: np.ndarray) -> np.ndarray:
    return values[: len(values) // 3]


def _key_value_bias(values: np.ndarray) -> np.ndarray:
    return values[len(values) // 3 :]


def _cross_attention(pattern: str, target: str) -> tuple[Rule, ...]:
    """Attention to something else; one weight for all, or three where that is of another width."""
    key_value = f"{target}/key_value/kernel"
    return (
        Rule(rf"{pattern}\.in_proj_weight", f"{target}/query/kernel", _query_kernel),
        Rule(rf"{pattern}\.in_proj_weight", key_value, _key_value_kernel),
        Rule(rf"{pattern}\.q_proj_weight", f"{target}/query/kernel", transpose),
        Rule(rf"{pattern}\.k_proj_weight", key_value, transpose, 0, 2),
        Rule(rf"{pattern}\.v_proj_weight", key_value, transpose, 1, 2),
        Rule(rf"{pattern}\.in_proj_bias", f"{target}/query/bias", _query_bias),
        Rule(rf"{pattern}\.in_proj_bias", f"{target}/key_value/bias", _key_value_bias),
        *linear(rf"{pattern}\.out_proj", f"{target}/output"),
    )


def _pooler(name: str, target: str) -> tuple[Rule, ...]:
    return (
        Rule(rf"visual\.{name}\.query", f"{target}/query_vectors"),
        *_cross_attention(rf"visual\.{name}\.attn", f"{target}/attention"),
        *norm(rf"visual\.{name}\.ln_q", f"{target}/query_norm"),
        *norm(rf"visual\.{name}\.ln_k", f"{target}/norm_before"),
    )


def _text() -> tuple[Rule, ...]:
    text = "text_encoder"
    return (
        Rule(r"text\.token_embedding\.weight", f"{text}/token_embedding"),
        Rule(r"text\.positional_embedding", f"{text}/positions"),
        Rule(r"text\.cls_emb", f"{text}/class_vector"),
        *resblocks(r"text\.transformer\.", text),
        *norm(r"text\.ln_final", f"{text}/norm_after"),
        Rule(r"text\.text_projection", "text_projection/kernel"),
        Rule(r"text\.text_projection\.weight", "text_projection/kernel", transpose),
    )


def _decoder() -> tuple[Rule, ...]:
    cross, target = rf"{_DECODER}\.cross_attn\.(\d+)\.", r"decoder/cross_block_\1"
    return (
        *resblocks(rf"{_DECODER}\.", "decoder"),
        *_cross_attention(rf"{cross}attn", f"{target}/attention"),
        *norm(rf"{cross}ln_1", f"{target}/attention_norm"),
        *norm(rf"{cross}ln_1_kv", f"{target}/context_norm"),
        *norm(rf"{cross}ln_2", f"{target}/mlp_norm"),
        *linear(rf"{cross}mlp\.c_fc", f"{target}/mlp_hidden"),
        *linear(rf"{cross}mlp\.c_proj", f"{target}/mlp_output"),
        *norm(rf"{_DECODER}\.ln_final", "decoder/norm_after"),
        Rule(rf"{_DECODER}\.text_projection", "decoder/vocabulary/kernel"),
    )


def _facts(folder: Path) -> dict[Any, dict[str, Any]]:
    """From the configuration where it lies beside the weights, else the program's defaults."""
    model = section(read_configuration(folder / _CONFIGURATION), "model_cfg")
    vision, text = section(model, "vision_cfg"), section(model, "text_cfg")
    shared = {
        "activation": "quick_gelu" if model.get("quick_gelu") else "gelu",
        "epsilon": 1e-5,
    }
    width, heads = text.get("width", 768), text.get("heads", 12)
    return {
        "image": {
            **shared,
            "head_width": vision.get("head_width", 64),
            "pooling": "cls",
            **PIXELS,
        },
        "text": {
            **shared,
            "head_width": width // heads,
            "shifted_mask": not text.get("correct_cls_mask", False),
        },
    }


def _pooling(shapes: Shapes, folder: Path) -> dict[str, Any]:
    vision = section(
        section(read_configuration(folder / _CONFIGURATION), "model_cfg"), "vision_cfg"
    )
    mode = vision.get("attentional_pool")
    if _CONTRASTIVE not in shapes:
        mode = "single"
    elif mode not in ("cascade", "parallel"):
        mode = "cascade"
    return {
        "pooling": mode,
        "queries": shapes[f"{_POOLING}/pooler/query_vectors"][0],
        "pooler_heads": vision.get("attn_pooler_heads", 8),
    }


def _sections(shapes: Shapes, folder: Path) -> dict[str, Any]:
    """A CoCa of the file's sizes."""
    facts = _facts(folder)
    kernel, image_width = shapes["image_encoder/patch_embedding/kernel"]
    patch = math.isqrt(kernel // 3)
    width = shapes["text_encoder/token_embedding"][1]
    image, text = facts["image"], facts["text"]
    return {
        "vocabulary": {"kind": "clip_bpe", "pretrained": "bpe_simple_vocab_16e6.txt.gz"},
        "model": {
            "system": "coca",
            "embedding_dim": shapes["text_projection/kernel"][1],
            "image_size": patch
            * math.isqrt(shapes["image_encoder/patch_embedding/positions"][0] - 1),
            "max_length": shapes["text_encoder/positions"][0] - 1,
            "image": {
                "kind": "vit",
                "patch_size": patch,
                "width": image_width,
                "depth": blocks(shapes, "image_encoder/block"),
                "heads": max(1, image_width // image["head_width"]),
                "mlp_ratio": _ratio(shapes, "image_encoder", image_width),
                "activation": image["activation"],
                "epsilon": image["epsilon"],
                "pooling": image["pooling"],
                **{key: list(values) for key, values in PIXELS.items()},
            },
            "text": {
                "kind": "unimodal_decoder",
                "width": width,
                "depth": blocks(shapes, "text_encoder/block"),
                "heads": max(1, width // text["head_width"]),
                "mlp_ratio": _ratio(shapes, "text_encoder", width),
                "activation": text["activation"],
                "epsilon": text["epsilon"],
                "shifted_mask": text["shifted_mask"],
            },
            "multimodal_depth": blocks(shapes, "decoder/cross_block"),
            **_pooling(shapes, folder),
        },
        "input": {"crop_scale": [1.0, 1.0]},
    }


def _ratio(shapes: Shapes, encoder: str, width: int) -> float:
    return shapes[f"{encoder}/block_0/mlp_hidden/bias"][0] / width


OPEN_CLIP_COCA = WeightLayout(
    name="open_clip_coca",
    sign=rf"(module\.)?{_DECODER}\.",
    rules=(
        *visual(norm_after=f"{_POOLING}/norm"),
        *_pooler("attn_pool", f"{_POOLING}/pooler"),
        *_pooler("attn_pool_contrastive", f"{_POOLING}/contrastive_pooler"),
        *_text(),
        *_decoder(),
        *TEMPERATURE,
    ),
    ignored=(r".*attn_mask",),
    refusals=(
        Refusal(r"visual\.trunk\..*", "model", "a CoCa over a tower of timm"),
        Refusal(
            r"text\.(transformer\.(embeddings|encoder)|proj)\..*",
            "model",
            "a CoCa over a text tower of Hugging Face's transformers",
        ),
        Refusal(r".*\.ls_[12]\.gamma", "model", "a CoCa with layer scale"),
    ),
    kinds={"image": "vit"},
    facts=_facts,
    configuration=_CONFIGURATION,
    systems=("coca",),
    required=(
        "image_encoder/patch_embedding/*",
        "image_encoder/block_*",
        "image_encoder/norm_before/*",
        f"{_POOLING}/*",
        "image_projection/*",
        "text_encoder/*",
        "text_projection/*",
        "decoder/*",
    ),
    demands=(
        Demand(_CONTRASTIVE, "there are two poolers, set model.pooling: cascade or parallel"),
        Demand("decoder/vocabulary/kernel", "words have a matrix apart, set tie_logits: false"),
    ),
    sections=_sections,
)
