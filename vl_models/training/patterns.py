"""Patterns on variable paths: ``*`` also matches the slash, as in ``image_tower/*``."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from fnmatch import fnmatchcase

from vl_models.errors import UserError


def matches(path: str, patterns: Iterable[str]) -> bool:
    """Return True if ``path`` matches one of the shell patterns."""
    return any(fnmatchcase(path, pattern) for pattern in patterns)


def require_matches(patterns: Iterable[str], paths: Iterable[str], what: str) -> None:
    """Check that no pattern is idle.

    Args:
        patterns: shell patterns.
        paths: what they may match.
        what: starts the message, for example "Phase 'all': frozen".

    Raises:
        UserError: a pattern matches no path; the message names the nearest.
    """
    paths = list(paths)
    for pattern in patterns:
        if not any(fnmatchcase(path, pattern) for path in paths):
            raise UserError(
                f"{what} matches no variable. Received: '{pattern}'; "
                f"nearest path: '{_nearest(pattern, paths)}'."
            )


def _nearest(pattern: str, paths: Iterable[str]) -> str:
    """Return the path of which a leading part is most similar to the pattern."""
    wanted = pattern.strip("*").rstrip("/")
    leading: dict[str, str] = {}
    for path in paths:
        parts = path.split("/")
        for end in range(1, len(parts) + 1):
            leading.setdefault("/".join(parts[:end]), path)
    return leading[difflib.get_close_matches(wanted, leading, n=1, cutoff=0.0)[0]]
