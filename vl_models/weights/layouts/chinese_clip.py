"""Chinese-CLIP: CLIP's image tower and a BERT; the original names and Hugging Face's port.

Yang et al., "Chinese CLIP: Contrastive Vision-Language Pretraining in Chinese", section 3: the
text embedding is the projected hidden state of `[CLS]`; BERT's own pooler has no part in it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vl_models.weights.layouts.clip_names import (
    TEMPERATURE,
    VISUAL_REFUSALS,
    clip_facts,
    huggingface_vision,
    linear,
    norm,
    visual,
)
from vl_models.weights.layouts.configuration import read_configuration, section
from vl_models.weights.layouts.huggingface_clip import transformer_facts
from vl_models.weights.rules import Refusal, Rule, WeightLayout, first_row, transpose

_BERT = r"(?:bert|text_model)\."


def _bert() -> tuple[Rule, ...]:
    text, layer = "text_encoder", rf"{_BERT}encoder\.layer\.(\d+)\."
    block = rf"{text}/block_\1"
    qkv = tuple(
        rule
        for part, name in enumerate(("query", "key", "value"))
        for rule in linear(rf"{layer}attention\.self\.{name}", f"{block}/attention/qkv", part, 3)
    )
    embeddings = rf"{_BERT}embeddings\."
    positions = f"{text}/positions"
    return (
        Rule(rf"{embeddings}word_embeddings\.weight", f"{text}/token_embedding"),
        # All tokens are of type 0, so its vector is part of every position.
        Rule(rf"{embeddings}position_embeddings\.weight", positions, parts=2, join="add"),
        Rule(rf"{embeddings}token_type_embeddings\.weight", positions, first_row, 1, 2, "add"),
        *norm(rf"{embeddings}LayerNorm", f"{text}/embedding_norm"),
        *qkv,
        *linear(rf"{layer}attention\.output\.dense", f"{block}/attention/output"),
        *norm(rf"{layer}attention\.output\.LayerNorm", f"{block}/attention_norm"),
        *linear(rf"{layer}intermediate\.dense", f"{block}/mlp_hidden"),
        *linear(rf"{layer}output\.dense", f"{block}/mlp_output"),
        *norm(rf"{layer}output\.LayerNorm", f"{block}/mlp_norm"),
    )


def _facts(folder: Path) -> dict[Any, dict[str, Any]]:
    facts = clip_facts("quick_gelu")
    facts["text"] = {"activation": "gelu", "epsilon": 1e-12, "head_width": 64, "pooling": "cls"}
    values = read_configuration(folder / "config.json")
    for tower, name in (("image", "vision_config"), ("text", "text_config")):
        facts[tower] |= transformer_facts(section(values, name))
    return facts


CHINESE_CLIP = WeightLayout(
    name="chinese_clip",
    sign=r"(module\.)?(bert|text_model)\.encoder\.layer\.",
    rules=(
        *visual(),
        *huggingface_vision(),
        *_bert(),
        Rule("text_projection", "text_projection/kernel"),
        Rule(r"text_projection\.weight", "text_projection/kernel", transpose),
        *TEMPERATURE,
    ),
    ignored=(
        rf"{_BERT}embeddings\.position_ids",
        r"vision_model\.embeddings\.position_ids",
        rf"{_BERT}pooler\.dense\.(weight|bias)",
    ),
    refusals=(
        *VISUAL_REFUSALS,
        Refusal(r"text_projection\.bias", "text", "a projection with a bias"),
    ),
    kinds={"image": "vit", "text": "bert"},
    facts=_facts,
    configuration="config.json",
)
