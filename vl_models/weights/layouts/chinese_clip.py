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
    fused,
    huggingface_vision,
    linear,
    norm,
    visual,
)
from vl_models.weights.layouts.huggingface_clip import configured_facts
from vl_models.weights.rules import Refusal, Rule, WeightLayout, first_row, transpose

_BERT = r"(?:bert|text_model)\."


def _bert() -> tuple[Rule, ...]:
    text, layer = "text_encoder", rf"{_BERT}encoder\.layer\.(\d+)\."
    block = rf"{text}/block_\1"
    names = [rf"{layer}attention\.self\.{name}" for name in ("query", "key", "value")]
    embeddings = rf"{_BERT}embeddings\."
    positions = f"{text}/positions"
    return (
        Rule(rf"{embeddings}word_embeddings\.weight", f"{text}/token_embedding"),
        # All tokens are of type 0, so its vector is part of every position.
        Rule(rf"{embeddings}position_embeddings\.weight", positions, parts=2, join="add"),
        Rule(rf"{embeddings}token_type_embeddings\.weight", positions, first_row, 1, 2, "add"),
        *norm(rf"{embeddings}LayerNorm", f"{text}/embedding_norm"),
        *fused(names, f"{block}/attention/qkv"),
        *linear(rf"{layer}attention\.output\.dense", f"{block}/attention/output"),
        *norm(rf"{layer}attention\.output\.LayerNorm", f"{block}/attention_norm"),
        *linear(rf"{layer}intermediate\.dense", f"{block}/mlp_hidden"),
        *linear(rf"{layer}output\.dense", f"{block}/mlp_output"),
        *norm(rf"{layer}output\.LayerNorm", f"{block}/mlp_norm"),
    )


def _facts(folder: Path) -> dict[Any, dict[str, Any]]:
    facts = clip_facts("quick_gelu")
    facts["text"] = {"activation": "gelu", "epsilon": 1e-12, "head_width": 64, "pooling": "cls"}
    return configured_facts(folder, facts)


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
