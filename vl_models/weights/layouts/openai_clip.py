"""OpenAI's CLIP: the state of the published archives, buffers of its compiler included."""

from __future__ import annotations

from vl_models.weights.layouts.clip_names import clip_facts
from vl_models.weights.layouts.open_clip import OPEN_CLIP
from vl_models.weights.rules import WeightLayout

OPENAI_CLIP = WeightLayout(
    name="openai_clip",
    # Numbers that the compiled archives carry beside the weights.
    sign=r"(input_resolution|context_length|vocab_size)$",
    rules=OPEN_CLIP.rules,
    ignored=(*OPEN_CLIP.ignored, "input_resolution", "context_length", "vocab_size"),
    refusals=OPEN_CLIP.refusals,
    kinds=OPEN_CLIP.kinds,
    facts=lambda folder: clip_facts("quick_gelu"),
)
