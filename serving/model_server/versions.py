"""Version directories under a base path, and which of them a policy asks for."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

_logger = logging.getLogger(__name__)
_INT64_MAX = 2**63 - 1


def list_versions(base_path: str | Path) -> dict[int, Path] | None:
    """Version directories by number (`00000123` is 123); None if the base path does not exist."""
    try:
        children = list(Path(base_path).iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return None
    return {
        int(child.name): child
        for child in children
        if child.name.isascii() and child.name.isdigit() and int(child.name) <= _INT64_MAX
    }


def select_versions(name: str, available: dict[int, Path], policy: Any) -> dict[int, Path]:
    """The versions that a `ServableVersionPolicy` proto asks for: latest (default), all, specific.

    A specific version that is not there is only warned about.
    """
    kind = policy.WhichOneof("policy_choice") or "latest"
    if kind == "all":
        return available
    if kind == "specific":
        wanted = list(policy.specific.versions)
        for version in wanted:
            if version not in available:
                _logger.warning(
                    "Version %d of servable %s, which was requested to be served as a 'specific' "
                    "version in the servable's version policy, was not found in the file system",
                    version,
                    name,
                )
        return {version: available[version] for version in wanted if version in available}
    count = policy.latest.num_versions or 1
    return {version: available[version] for version in sorted(available)[-count:]}
