"""The experiment that a checkpoint's towers fit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from vl_models.weights.layouts import find_layout
from vl_models.weights.layouts.clip_names import PIXELS
from vl_models.weights.read import TensorFiles
from vl_models.weights.rules import Shapes, Tower, WeightLayout, blocks, match_names, tower_blocks

_VOCABULARIES = {
    "transformer": {"kind": "clip_bpe", "pretrained": "bpe_simple_vocab_16e6.txt.gz"},
    "bert": {"kind": "wordpiece", "pretrained": "vocab.txt"},
}


def experiment_sections(tensors: TensorFiles, layout: str = "auto") -> dict[str, Any]:
    """Return the sections of an experiment with the towers of a file.

    Sizes are read off the shapes; what no shape tells (heads, activations) is what the models
    of the layout are made with. Images are cut out as CLIP's are, so that the scale that the
    weights know stays theirs.

    Args:
        tensors: the file's.
        layout: name of the layout, or "auto".

    Returns:
        Plain values under ``vocabulary``, ``model`` and ``input``; towers that the file lacks, or
        that have no counterpart, are left out.

    Raises:
        UserError: the names show no known layout.
    """
    found = find_layout(layout, tensors)
    shapes = match_names(found, list(tensors)).shapes({n: t.shape for n, t in tensors.items()})
    if found.sections is not None:
        return found.sections(shapes, tensors.paths[0].parent)
    facts = found.facts(tensors.paths[0].parent)
    section: dict[str, Any] = {"system": "clip"}
    sections: dict[str, Any] = {"model": section}
    for path in ("text_projection/kernel", "image_projection/kernel"):
        if path in shapes:
            section["embedding_dim"] = shapes[path][1]
    _add_image(section, shapes, found, facts["image"])
    if "image" in section:
        sections["input"] = {"crop_scale": [1.0, 1.0]}
    if _add_text(section, shapes, found, facts["text"]):
        # The file of the tokeniser lies somewhere else: its usual name stands for it.
        sections = {"vocabulary": dict(_VOCABULARIES[found.kinds["text"]]), **sections}
    return sections


def _add_image(section: dict[str, Any], shapes: Shapes, layout: WeightLayout, facts: Any) -> None:
    kernel = shapes.get("image_encoder/patch_embedding/kernel")
    positions = shapes.get("image_encoder/patch_embedding/positions")
    if kernel is None or positions is None:
        return
    patch = math.isqrt(kernel[0] // 3)
    section["image_size"] = patch * math.isqrt(positions[0] - 1)
    section["image"] = {
        **_transformer(shapes, layout, "image", kernel[1], facts),
        "patch_size": patch,
        **{key: list(PIXELS[key]) for key in PIXELS},
    }


def _add_text(section: dict[str, Any], shapes: Shapes, layout: WeightLayout, facts: Any) -> bool:
    embedding = shapes.get("text_encoder/token_embedding")
    positions = shapes.get("text_encoder/positions")
    if embedding is None or positions is None:
        return False
    section["max_length"] = positions[0]
    section["text"] = _transformer(shapes, layout, "text", embedding[1], facts)
    section["text"] |= {key: facts[key] for key in ("causal",) if key in facts}
    return True


def _transformer(
    shapes: Shapes, layout: WeightLayout, tower: Tower, width: int, facts: Mapping[str, Any]
) -> dict[str, Any]:
    hidden_width = shapes.get(f"{tower}_encoder/block_0/mlp_hidden/bias", (4 * width,))[0]
    return {
        "kind": layout.kinds[tower],
        "width": width,
        "depth": blocks(shapes, tower_blocks(tower)),
        "heads": max(1, width // facts["head_width"]),
        "mlp_ratio": hidden_width / width,
        "activation": facts["activation"],
        "epsilon": facts["epsilon"],
        "pooling": facts["pooling"],
    }
