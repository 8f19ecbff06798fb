"""The model card that lies beside each released version."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

MODEL_CARD = "MODEL_CARD.md"


def model_card(
    name: str,
    version: int,
    text: str | None,
    metrics: Mapping[str, float | None],
    data_span: Any,
    lineage: Mapping[str, Any],
    checksums: Mapping[str, str],
) -> str:
    """Markdown: what the author wrote, then metrics, data, lineage and the checksum of every file.

    Args:
        name: of the model.
        version: of the model.
        text: the author's part (intended use, data, limits), or None for a heading alone.
        metrics: value by key; None, which is undefined, is printed as a dash.
        data_span: what JSON can hold; nothing leaves the section out.
        lineage: ids by kind; nothing leaves the section out.
        checksums: SHA-256 by relative path.
    """
    parts = [text.strip() if text else f"# {name}, version {version}"]
    if metrics:
        rows = "\n".join(
            f"| {key} | {'–' if value is None else f'{value:.4g}'} |"
            for key, value in sorted(metrics.items())
        )
        parts.append(f"## Metrics\n\n| metric | value |\n|---|---|\n{rows}")
    if data_span:
        parts.append(f"## Data span\n\n```json\n{json.dumps(data_span, indent=2)}\n```")
    if lineage:
        parts.append(f"## Lineage\n\n```json\n{json.dumps(dict(lineage), indent=2)}\n```")
    rows = "\n".join(f"{digest}  {path}" for path, digest in checksums.items())
    parts.append(f"## Files of {name}/{version} (SHA-256)\n\n```\n{rows}\n```")
    return "\n\n".join(parts) + "\n"
