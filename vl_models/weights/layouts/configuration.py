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
