"""Fingerprints of what a step depends on but TFX does not see: files and code."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent
_SUFFIXES = (".py", ".j2")


def fingerprint_text(*parts: str) -> str:
    """Short hexadecimal fingerprint of strings; their boundaries count."""
    digest = hashlib.sha256()
    for part in parts:
        encoded = part.encode("utf-8")
        digest.update(len(encoded).to_bytes(8, "big") + encoded)
    return digest.hexdigest()[:16]


def fingerprint_file(path: str | Path) -> str:
    """Short hexadecimal fingerprint of a file's content."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def fingerprint_code(*places: str) -> str:
    """Fingerprint of sources (Python, templates) of the project, for cache keys.

    Args:
        places: folders and files, relative to the project's root, as in ``vl_models/text``.

    Raises:
        FileNotFoundError: one of them is not there, so a list of code is out of date.
    """
    return fingerprint_text(*_sources(places))


def _sources(places: Iterable[str]) -> Iterable[str]:
    for place in places:
        root = _ROOT / place
        if not root.exists():
            raise FileNotFoundError(
                f"There is no code at {place} in {_ROOT}: it has moved. Name its new place in the "
                "list of code that this key is made of."
            )
        for path in [root] if root.is_file() else sorted(root.rglob("*")):
            if path.suffix not in _SUFFIXES:
                continue
            yield path.relative_to(_ROOT).as_posix()
            yield path.read_text(encoding="utf-8")
