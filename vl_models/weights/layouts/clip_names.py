"""What the layouts of CLIP's descendants share: block rules, refusals, facts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vl_models.weights.rules import Refusal, Rule, keep, patches, scalar, transpose

# Radford et al. 2021, the statistics of their training images (the published preprocessing).
PIXELS = {
    "mean": (0.48145466, 0.4578275, 0.40821073),
    "standard_deviation": (0.26862954, 0.26130258, 0.27577711),
}
TEMPERATURE = (
    Rule("logit_scale", "temperature/log_scale", scalar),
    Rule("logit_bias", "logit_bias/bias", scalar),
)


def norm(pattern: str, target: str) -> tuple[Rule, Rule]:
    """Return a layer normalisation."""
    return (
        Rule(rf"{pattern}\.weight", f"{target}/gamma"),
        Rule(rf"{pattern}\.bias", f"{target}/beta"),
    )


def linear(pattern: str, target: str) -> tuple[Rule, ...]:
    """Return a linear layer."""
    return fused([pattern], target)


def fused(patterns: Sequence[str], target: str) -> tuple[Rule, ...]:
    """Linear layers that are one here, side by side."""
    rules: list[Rule] = []
    for part, pattern in enumerate(patterns):
        place = (part, len(patterns))
        rules.append(Rule(rf"{pattern}\.weight", f"{target}/kernel", transpose, *place))
        rules.append(Rule(rf"{pattern}\.bias", f"{target}/bias", keep, *place))
    return tuple(rules)


def resblocks(transformer: str, encoder: str) -> tuple[Rule, ...]:
    """Return the residual blocks of OpenAI's and open_clip's transformers."""
    block = rf"{transformer}resblocks\.(\d+)\."
    target = rf"{encoder}/block_\1"
    return (
        Rule(rf"{block}attn\.in_proj_weight", f"{target}/attention/qkv/kernel", transpose),
        Rule(rf"{block}attn\.in_proj_bias", f"{target}/attention/qkv/bias"),
        *linear(rf"{block}attn\.out_proj", f"{target}/attention/output"),
        *norm(rf"{block}ln_1", f"{target}/attention_norm"),
        *norm(rf"{block}ln_2", f"{target}/mlp_norm"),
        *linear(rf"{block}mlp\.c_fc", f"{target}/mlp_hidden"),
        *linear(rf"{block}mlp\.c_proj", f"{target}/mlp_output"),
    )


def visual(norm_after: str = "image_encoder/norm_after") -> tuple[Rule, ...]:
    """CLIP's vision transformer and its projection; the last norm may be another layer's."""
    image = "image_encoder"
    return (
        Rule(r"visual\.conv1\.weight", f"{image}/patch_embedding/kernel", patches),
        Rule(r"visual\.class_embedding", f"{image}/patch_embedding/class_vector"),
        Rule(r"visual\.positional_embedding", f"{image}/patch_embedding/positions"),
        *norm(r"visual\.ln_pre", f"{image}/norm_before"),
        *resblocks(r"visual\.transformer\.", image),
        *norm(r"visual\.ln_post", norm_after),
        Rule(r"visual\.proj", "image_projection/kernel"),
    )


def huggingface_vision() -> tuple[Rule, ...]:
    """CLIP's vision transformer as Hugging Face's ports name it."""
    image, model = "image_encoder", r"vision_model\."
    return (
        Rule(
            rf"{model}embeddings\.patch_embedding\.weight",
            f"{image}/patch_embedding/kernel",
            patches,
        ),
        Rule(rf"{model}embeddings\.class_embedding", f"{image}/patch_embedding/class_vector"),
        Rule(
            rf"{model}embeddings\.position_embedding\.weight", f"{image}/patch_embedding/positions"
        ),
        # The ports really spell it so; a corrected spelling would be the same tensor.
        *norm(rf"{model}pre_lay(?:r|er)norm", f"{image}/norm_before"),
        *huggingface_blocks(model, image),
        *norm(rf"{model}post_layernorm", f"{image}/norm_after"),
        Rule(r"visual_projection\.weight", "image_projection/kernel", transpose),
    )


def huggingface_blocks(model: str, encoder: str) -> tuple[Rule, ...]:
    """Pre-norm blocks with separate query, key and value layers."""
    block = rf"{model}encoder\.layers\.(\d+)\."
    target = rf"{encoder}/block_\1"
    names = [rf"{block}self_attn\.{letter}_proj" for letter in "qkv"]
    return (
        *fused(names, f"{target}/attention/qkv"),
        *linear(rf"{block}self_attn\.out_proj", f"{target}/attention/output"),
        *norm(rf"{block}layer_norm1", f"{target}/attention_norm"),
        *norm(rf"{block}layer_norm2", f"{target}/mlp_norm"),
        *linear(rf"{block}mlp\.fc1", f"{target}/mlp_hidden"),
        *linear(rf"{block}mlp\.fc2", f"{target}/mlp_output"),
    )


VISUAL_REFUSALS = (
    Refusal(
        r"visual\.(layer\d|attnpool|conv[23]|bn\d)\..*",
        "image",
        "a ResNet with attention pooling (ModifiedResNet)",
    ),
    Refusal(r"visual\.trunk\..*", "image", "a tower of timm"),
    Refusal(r"visual\.(blocks|patch_embed|rope)\..*", "image", "an EVA vision transformer"),
    Refusal(r"visual\.attn_pool\..*", "image", "a vision transformer with an attention pooler"),
    Refusal(r"visual\..*\.ls_[12]\.gamma", "image", "a vision transformer with layer scale"),
    Refusal(
        r"visual\.conv1\.bias|vision_model\.embeddings\.patch_embedding\.bias",
        "image",
        "a vision transformer whose patch convolution has a bias",
    ),
)


def clip_facts(activation: str) -> dict[Any, dict[str, Any]]:
    """Return the settings of CLIP's two transformers that no tensor tells."""
    shared = {"activation": activation, "epsilon": 1e-5, "head_width": 64}
    return {
        "image": {**shared, "pooling": "cls", **PIXELS},
        "text": {**shared, "causal": True, "pooling": "eot"},
    }
