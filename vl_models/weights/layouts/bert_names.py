"""What the layouts of BERT's descendants share."""

from __future__ import annotations

from vl_models.weights.layouts.clip_names import fused, linear, norm
from vl_models.weights.rules import Rule, transpose


def prediction_head(pattern: str, target: str) -> tuple[Rule, ...]:
    """Return a head over hidden places, see `PredictionHead`."""
    return (
        *linear(rf"{pattern}\.transform\.dense", f"{target}/transform"),
        *norm(rf"{pattern}\.transform\.LayerNorm", f"{target}/norm"),
        Rule(rf"{pattern}\.decoder\.weight", f"{target}/decoder/kernel", transpose),
        # Published files have the bias beside the decoder, newer ones in it, too.
        Rule(rf"{pattern}\.(?:decoder\.)?bias", f"{target}/decoder/bias"),
    )


def pre_norm_blocks(model: str, encoder: str) -> tuple[Rule, ...]:
    """Return the blocks of a vision transformer that is named like BERT."""
    layer, block = rf"{model}encoder\.layer\.(\d+)\.", rf"{encoder}/block_\1"
    attention = rf"{layer}attention\.attention\."
    names = [rf"{attention}{name}" for name in ("query", "key", "value")]
    return (
        *fused(names, f"{block}/attention/qkv"),
        *linear(rf"{layer}attention\.output\.dense", f"{block}/attention/output"),
        *norm(rf"{layer}layernorm_before", f"{block}/attention_norm"),
        *norm(rf"{layer}layernorm_after", f"{block}/mlp_norm"),
        *linear(rf"{layer}intermediate\.dense", f"{block}/mlp_hidden"),
        *linear(rf"{layer}output\.dense", f"{block}/mlp_output"),
    )
