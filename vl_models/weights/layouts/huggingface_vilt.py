"""ViLT as Hugging Face's transformers names it: MLM, matching, retrieval, VQA, NLVR2.

The variables are those of `vl_models.models.vilt`; heads of tasks that the experiment lacks are
left out.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from vl_models.weights.layouts.bert_names import pre_norm_blocks, prediction_head
from vl_models.weights.layouts.clip_names import linear, norm
from vl_models.weights.layouts.configuration import fusion_facts
from vl_models.weights.rules import (
    Rule,
    Shapes,
    WeightLayout,
    blocks,
    first_position,
    first_row,
    other_positions,
    patches,
    three_types,
    vector,
)

_MODEL = r"(?:vilt\.)?"
_EMBEDDINGS = rf"{_MODEL}embeddings\."
_TEXT = rf"{_EMBEDDINGS}text_embeddings\."
# Task → a variable of its head, by which one knows what a file has.
_HEADS = {
    "mlm": "mlm_head/decoder/kernel",
    "itm": "itm_head/kernel",
    "retrieval": "retrieval_head/kernel",
    "vqa": "vqa_head/scores/kernel",
    "nlvr2": "nlvr2_head/scores/kernel",
}


def _text() -> tuple[Rule, ...]:
    text, positions = "text_embedding", "text_embedding/positions"
    return (
        Rule(rf"{_TEXT}word_embeddings\.weight", f"{text}/token_embedding"),
        # All tokens are of type 0, so its vector is part of every position.
        Rule(rf"{_TEXT}position_embeddings\.weight", positions, parts=2, join="add"),
        Rule(rf"{_TEXT}token_type_embeddings\.weight", positions, first_row, 1, 2, "add"),
        *norm(rf"{_TEXT}LayerNorm", f"{text}/embedding_norm"),
        # The modality's type is another table, of which an image's rows are apart.
        Rule(rf"{_EMBEDDINGS}token_type_embeddings\.weight", "text_type/vector", first_row),
    )


def _image() -> tuple[Rule, ...]:
    image, projection = "image_embedding", rf"{_EMBEDDINGS}patch_embeddings\.projection\."
    positions = rf"{_EMBEDDINGS}position_embeddings"
    return (
        Rule(rf"{projection}weight", f"{image}/projection/kernel", patches),
        Rule(rf"{projection}bias", f"{image}/projection/bias"),
        Rule(rf"{_EMBEDDINGS}cls_token", f"{image}/class_vector", vector),
        Rule(positions, f"{image}/class_position", first_position),
        Rule(positions, f"{image}/grid_positions", other_positions),
        Rule(rf"{_EMBEDDINGS}token_type_embeddings\.weight", f"{image}/type_vectors", three_types),
    )


def _encoder() -> tuple[Rule, ...]:
    return (
        *pre_norm_blocks(_MODEL, "encoder"),
        *norm(rf"{_MODEL}layernorm", "encoder/norm_after"),
        *linear(rf"{_MODEL}pooler\.dense", "encoder/pooler/dense"),
    )


def _answers(task: str) -> tuple[Rule, ...]:
    return (
        *linear(r"classifier\.0", f"{task}_head/hidden"),
        *norm(r"classifier\.1", f"{task}_head/norm"),
        *linear(r"classifier\.3", f"{task}_head/scores"),
    )


def _heads() -> tuple[Rule, ...]:
    return (
        *prediction_head("mlm_score", "mlm_head"),
        *linear(r"itm_score\.fc", "itm_head"),
        *linear("rank_output", "retrieval_head"),
        # One name for two tasks; the widths tell them apart, and the experiment has one of them.
        *_answers("vqa"),
        *_answers("nlvr2"),
    )


def _facts(folder: Path) -> dict[Any, dict[str, Any]]:
    return {"model": fusion_facts(folder)}


def _sections(shapes: Shapes, folder: Path) -> dict[str, Any]:
    """A ViLT of the file's sizes, with the tasks that it has heads of."""
    kernel, width = shapes["image_embedding/projection/kernel"]
    patch = math.isqrt(kernel // 3)
    facts = fusion_facts(folder)
    hidden = shapes["encoder/block_0/mlp_hidden/bias"][0]
    tasks = [task for task, path in _HEADS.items() if path in shapes]
    if {"vqa", "nlvr2"} <= set(tasks):
        # NLVR2 reads the pooled vectors of two images.
        two_images = shapes["nlvr2_head/hidden/kernel"][0] == 2 * width
        tasks.remove("vqa" if two_images else "nlvr2")
    return {
        "vocabulary": {"kind": "wordpiece", "pretrained": "vocab.txt"},
        "model": {
            "system": "vilt",
            "image_size": patch * math.isqrt(shapes["image_embedding/grid_positions"][0]),
            "max_length": shapes["text_embedding/positions"][0],
            "width": width,
            "depth": blocks(shapes, "encoder/block"),
            "heads": max(1, width // facts["head_width"]),
            "mlp_ratio": hidden / width,
            "patch_size": patch,
            "epsilon": facts["epsilon"],
            "tasks": [{"kind": task} for task in tasks] or [{"kind": "itm"}],
        },
    }


HUGGINGFACE_VILT = WeightLayout(
    name="huggingface_vilt",
    sign=rf"(module\.)?{_TEXT}",
    rules=(*_text(), *_image(), *_encoder(), *_heads()),
    ignored=(rf"{_TEXT}position_ids",),
    refusals=(),
    kinds={},
    facts=_facts,
    configuration="config.json",
    caveat="unless the config.json that belongs to the file, and should lie beside it, differs",
    systems=("vilt",),
    required=("text_embedding/*", "text_type/*", "image_embedding/*", "encoder/*"),
    token_embedding="text_embedding/token_embedding",
    text_positions="text_embedding/positions",
    image_positions="image_embedding/grid_positions",
    sections=_sections,
)
