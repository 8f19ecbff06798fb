"""The model card that lies beside each released version."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from serving import files
from serving.errors import ServingError

MODEL_CARD = "MODEL_CARD.md"
_HEADING = re.compile(r"## Files of .+ \(SHA-256\)")
_FENCE = "```"
_LISTED = re.compile(r"([0-9a-f]{64})  (\S.*)")


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


def listed_checksums(path: Path) -> dict[str, str] | None:
    """Return the checksums in a card, SHA-256 by relative path; None if it has no such list.

    Whatever else people wrote into the card does not matter.

    Raises:
        ServingError: the card cannot be read, or its list is broken.
    """
    # People's editors may add a mark, or save names of other alphabets in another encoding.
    text = files.read_bytes(path).decode("utf-8", errors="replace")
    lines = text.removeprefix("\ufeff").splitlines()
    headings = [i for i, line in enumerate(lines) if _HEADING.fullmatch(line.strip())]
    if not headings:
        return None
    start = headings[-1] + 1
    while start < len(lines) and not lines[start].strip():
        start += 1
    if start == len(lines) or lines[start].strip() != _FENCE:
        raise _broken(path, start)
    listed: dict[str, str] = {}
    for i, line in enumerate(lines[start + 1 :], start + 1):
        if line.strip() == _FENCE:
            return listed
        match = _LISTED.fullmatch(line.rstrip())
        if match is None or match[2] in listed:
            raise _broken(path, i)
        listed[match[2]] = match[1]
    raise _broken(path, len(lines))


def _broken(path: Path, line: int) -> ServingError:
    return ServingError(
        f"{path}, line {line + 1}: the list of checksums is damaged. Restore the file from a copy."
    )
