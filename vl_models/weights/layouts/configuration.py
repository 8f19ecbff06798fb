"""Reading the configuration that some programs put beside their weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def read_configuration(path: Path) -> dict[str, Any]:
    """Return the mapping in a JSON file; empty if there is no such file, or nothing of the kind."""
    try:
        values = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def section(values: dict[str, Any], name: str) -> dict[str, Any]:
    """Return a nested mapping; empty if it is absent or of another type."""
    inner = values.get(name)
    return inner if isinstance(inner, dict) else {}


def fusion_facts(folder: Path) -> dict[str, Any]:
    """What no tensor of ViLT and BEiT tells: from ``config.json``, else as published."""
    values = read_configuration(folder / "config.json")
    facts: dict[str, Any] = {"epsilon": values.get("layer_norm_eps", 1e-12), "head_width": 64}
    if {"hidden_size", "num_attention_heads"} <= values.keys():
        facts["head_width"] = values["hidden_size"] // values["num_attention_heads"]
    return facts
