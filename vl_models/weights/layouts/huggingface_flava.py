"""FLAVA as Hugging Face's transformers names it, its pretraining heads included."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from vl_models.weights.layouts.bert_names import pre_norm_blocks, prediction_head
from vl_models.weights.layouts.clip_names import PIXELS, linear, norm
from vl_models.weights.layouts.configuration import read_configuration, section
from vl_models.weights.rules import (
    Rule,
    Shapes,
    WeightLayout,
    blocks,
    first_position,
    first_row,
    other_positions,
    patches,
    scalar,
    vector,
)

_MODEL = r"(?:flava\.)?"
_IMAGE, _TEXT = rf"{_MODEL}image_model\.", rf"{_MODEL}text_model\."
_PAIR = rf"{_MODEL}multimodal_model\."


def _images() -> tuple[Rule, ...]:
    embeddings, image = rf"{_IMAGE}embeddings\.", "image_embedding"
    projection, positions = rf"{embeddings}patch_embeddings\.projection\.", "position_embeddings"
    return (
        Rule(rf"{projection}weight", f"{image}/projection/kernel", patches),
        Rule(rf"{projection}bias", f"{image}/projection/bias"),
        Rule(rf"{embeddings}cls_token", f"{image}/class_vector", vector),
        Rule(rf"{embeddings}mask_token", f"{image}/mask_vector", vector),
        Rule(rf"{embeddings}{positions}", f"{image}/class_position", first_position),
        Rule(rf"{embeddings}{positions}", f"{image}/grid_positions", other_positions),
        *pre_norm_blocks(_IMAGE, "image_blocks"),
        *norm(rf"{_IMAGE}layernorm", "image_blocks/norm_after"),
    )


def _texts() -> tuple[Rule, ...]:
    embeddings, text = rf"{_TEXT}embeddings\.", "text_embedding"
    positions = f"{text}/positions"
    return (
        Rule(rf"{embeddings}word_embeddings\.weight", f"{text}/token_embedding"),
        # All tokens are of type 0, so its vector is part of every position.
        Rule(rf"{embeddings}position_embeddings\.weight", positions, parts=2, join="add"),
        Rule(rf"{embeddings}token_type_embeddings\.weight", positions, first_row, 1, 2, "add"),
        *norm(rf"{embeddings}LayerNorm", f"{text}/embedding_norm"),
        *pre_norm_blocks(_TEXT, "text_blocks"),
        *norm(rf"{_TEXT}layernorm", "text_blocks/norm_after"),
    )


def _pairs() -> tuple[Rule, ...]:
    return (
        Rule(rf"{_PAIR}cls_token", "encoder/class_vector", vector),
        *linear(rf"{_MODEL}image_to_mm_projection", "encoder/image_projection"),
        *linear(rf"{_MODEL}text_to_mm_projection", "encoder/text_projection"),
        *pre_norm_blocks(_PAIR, "encoder"),
        *norm(rf"{_PAIR}layernorm", "encoder/norm_after"),
        # The program's joint encoder has a pooler, too, which none of its losses reads.
        *linear(r"itm_head\.pooler\.dense", "encoder/pooler/dense"),
    )


def _heads() -> tuple[Rule, ...]:
    return (
        *linear(rf"{_MODEL}image_projection", "image_projection"),
        *linear(rf"{_MODEL}text_projection", "text_projection"),
        Rule(rf"{_MODEL}logit_scale", "temperature/log_scale", scalar),
        *linear(r"itm_head\.seq_relationship", "itm_head"),
        *prediction_head("mlm_head", "mlm_head"),
        *prediction_head("mim_head", "mim_head"),
        *prediction_head("mmm_text_head", "mmm_text_head"),
        *prediction_head("mmm_image_head", "mmm_image_head"),
    )


def _facts(folder: Path) -> dict[Any, dict[str, Any]]:
    """From ``config.json`` where it lies beside the weights, else as published."""
    image = section(read_configuration(folder / "config.json"), "image_config")
    facts: dict[str, Any] = {"epsilon": image.get("layer_norm_eps", 1e-12), "head_width": 64}
    if {"hidden_size", "num_attention_heads"} <= image.keys():
        facts["head_width"] = image["hidden_size"] // image["num_attention_heads"]
    return {"model": {**facts, **PIXELS}}


def _sections(shapes: Shapes, folder: Path) -> dict[str, Any]:
    """A FLAVA of the file's sizes, with the tasks that it has heads of."""
    kernel, width = shapes["image_embedding/projection/kernel"]
    patch, facts = math.isqrt(kernel // 3), _facts(folder)["model"]
    tokenizer = {"tokenizer": "build/image_tokenizer"}
    tasks: dict[str, dict[str, Any]] = {
        "image_projection/kernel": {"kind": "itc", "bias": True},
        "mmm_text_head/decoder/kernel": {"kind": "mmm", **tokenizer},
        "itm_head/kernel": {"kind": "itm"},
        "mim_head/decoder/kernel": {
            "kind": "mim",
            **tokenizer,
            "on_pairs": False,
            "transform": True,
        },
        "mlm_head/decoder/kernel": {"kind": "mlm", "on_pairs": False},
    }
    return {
        "vocabulary": {"kind": "wordpiece", "pretrained": "vocab.txt"},
        "model": {
            "system": "flava",
            "image_size": patch * math.isqrt(shapes["image_embedding/grid_positions"][0]),
            "max_length": shapes["text_embedding/positions"][0],
            "width": width,
            "depth": blocks(shapes, "image_blocks/block"),
            "multimodal_depth": blocks(shapes, "encoder/block"),
            "heads": max(1, width // facts["head_width"]),
            "mlp_ratio": shapes["image_blocks/block_0/mlp_hidden/bias"][0] / width,
            "patch_size": patch,
            "epsilon": facts["epsilon"],
            **{key: list(PIXELS[key]) for key in PIXELS},
            "tasks": [task for path, task in tasks.items() if path in shapes],
        },
        "input": {"crop_scale": [1.0, 1.0]},
    }


HUGGINGFACE_FLAVA = WeightLayout(
    name="huggingface_flava",
    sign=rf"(module\.)?{_PAIR}",
    rules=(*_images(), *_texts(), *_pairs(), *_heads()),
    ignored=(
        r".*position_ids",
        rf"{_MODEL}(?:image|text|multimodal)_model\.pooler\..*",
        r"image_codebook\..*",
    ),
    refusals=(),
    kinds={},
    facts=_facts,
    configuration="config.json",
    caveat="unless the config.json that belongs to the file, and should lie beside it, differs",
    systems=("flava",),
    required=("text_embedding/*", "image_embedding/*", "*_blocks/*", "encoder/*"),
    token_embedding="text_embedding/token_embedding",
    text_positions="text_embedding/positions",
    image_positions="image_embedding/grid_positions",
    sections=_sections,
)
