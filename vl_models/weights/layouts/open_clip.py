"""open_clip's ViT models, with the text tower at the top level or under ``text.``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vl_models.weights.layouts.clip_names import (
    TEMPERATURE,
    VISUAL_REFUSALS,
    clip_facts,
    norm,
    resblocks,
    visual,
)
from vl_models.weights.layouts.configuration import read_configuration, section
from vl_models.weights.rules import Refusal, Rule, WeightLayout, transpose

_TEXT = r"(?:text\.)?"
_CONFIGURATION = "open_clip_config.json"


def _facts(folder: Path) -> dict[Any, dict[str, Any]]:
    """From the configuration where it lies beside the weights, else the program's defaults."""
    model = section(read_configuration(folder / _CONFIGURATION), "model_cfg")
    facts = clip_facts("quick_gelu" if model.get("quick_gelu") else "gelu")
    vision, text = section(model, "vision_cfg"), section(model, "text_cfg")
    if "head_width" in vision:
        facts["image"]["head_width"] = vision["head_width"]
    if {"width", "heads"} <= text.keys():
        facts["text"]["head_width"] = text["width"] // text["heads"]
    return facts


OPEN_CLIP = WeightLayout(
    name="open_clip",
    sign=r"(module\.)?(visual\.|(text\.)?transformer\.resblocks\.)",
    rules=(
        *visual(),
        Rule(rf"{_TEXT}token_embedding\.weight", "text_encoder/token_embedding"),
        Rule(rf"{_TEXT}positional_embedding", "text_encoder/positions"),
        *resblocks(rf"{_TEXT}transformer\.", "text_encoder"),
        *norm(rf"{_TEXT}ln_final", "text_encoder/norm_after"),
        Rule(rf"{_TEXT}text_projection", "text_projection/kernel"),
        Rule(rf"{_TEXT}text_projection\.weight", "text_projection/kernel", transpose),
        *TEMPERATURE,
    ),
    ignored=(rf"{_TEXT}attn_mask",),
    refusals=(
        *VISUAL_REFUSALS,
        Refusal(
            r"text\.(transformer\.(embeddings|encoder)|proj)\..*",
            "text",
            "a text tower of Hugging Face's transformers inside open_clip",
        ),
        Refusal(r"text\.cls_emb|text_decoder\..*", "text", "CoCa's text tower (open_clip_coca)"),
        Refusal(rf"{_TEXT}text_projection\.bias", "text", "a projection with a bias"),
        Refusal(r"(?!visual).*\.ls_[12]\.gamma", "text", "a text tower with layer scale"),
    ),
    kinds={"image": "vit", "text": "transformer"},
    facts=_facts,
    configuration=_CONFIGURATION,
    caveat="unless the model's name ends in -quickgelu or it is one of OpenAI's",
)
