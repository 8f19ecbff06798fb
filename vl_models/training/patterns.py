"""Patterns on variable paths: ``*`` also matches the slash, as in ``image_tower/*``."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase


def matches(path: str, patterns: Iterable[str]) -> bool:
    """True if ``path`` matches one of the shell patterns."""
    return any(fnmatchcase(path, pattern) for pattern in patterns)
