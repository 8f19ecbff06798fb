"""CLIP as Hugging Face's transformers names it; ``config.json`` beside it tells the rest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vl_models.weights.layouts.clip_names import (
    TEMPERATURE,
    VISUAL_REFUSALS,
    clip_facts,
    huggingface_blocks,
    huggingface_vision,
    norm,
)
from vl_models.weights.layouts.configuration import read_configuration, section
from vl_models.weights.rules import Rule, WeightLayout, transpose

_TEXT = r"text_model\."


def _facts(folder: Path) -> dict[Any, dict[str, Any]]:
    return configured_facts(folder, clip_facts("quick_gelu"))


def configured_facts(folder: Path, facts: dict[Any, dict[str, Any]]) -> dict[Any, dict[str, Any]]:
    """The facts of both towers, as far as a configuration beside the weights says otherwise."""
    values = read_configuration(folder / "config.json")
    for tower, name in (("image", "vision_config"), ("text", "text_config")):
        facts[tower] |= _transformer_facts(section(values, name))
    return facts


def _transformer_facts(values: dict[str, Any]) -> dict[str, Any]:
    """Activation, epsilon and head width, as far as a configuration tells them."""
    facts = {}
    if "hidden_act" in values:
        facts["activation"] = values["hidden_act"]
    if "layer_norm_eps" in values:
        facts["epsilon"] = values["layer_norm_eps"]
    if {"hidden_size", "num_attention_heads"} <= values.keys():
        facts["head_width"] = values["hidden_size"] // values["num_attention_heads"]
    return facts


HUGGINGFACE_CLIP = WeightLayout(
    name="huggingface_clip",
    sign=r"(module\.)?(vision_model|text_model)\.",
    rules=(
        *huggingface_vision(),
        Rule(rf"{_TEXT}embeddings\.token_embedding\.weight", "text_encoder/token_embedding"),
        Rule(rf"{_TEXT}embeddings\.position_embedding\.weight", "text_encoder/positions"),
        *huggingface_blocks(_TEXT, "text_encoder"),
        *norm(rf"{_TEXT}final_layer_norm", "text_encoder/norm_after"),
        Rule(r"text_projection\.weight", "text_projection/kernel", transpose),
        *TEMPERATURE,
    ),
    ignored=(r"(vision|text)_model\.embeddings\.position_ids",),
    refusals=VISUAL_REFUSALS,
    kinds={"image": "vit", "text": "transformer"},
    facts=_facts,
    configuration="config.json",
    caveat="unless the config.json that belongs to the file, and should lie beside it, differs",
)
