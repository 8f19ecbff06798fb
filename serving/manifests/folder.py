"""Writing the generated files: all of them or none, and never over somebody else's."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from serving import files
from serving.errors import ServingError

# Marks a folder as generated, and says from what.
_MARKER = "generated.json"
_GENERATOR = "vlsearch serving manifests"


def write_folder(
    folder: str | Path,
    texts: Mapping[str, str],
    source: Mapping[str, object],
    force: bool = False,
) -> None:
    """Put the files in place of what `folder` holds, in one step.

    Args:
        folder: where the files go.
        texts: text by relative path.
        source: what they were made from, kept beside them in generated.json.
        force: replace a folder that this command did not write.

    Raises:
        DiskError: `folder` cannot be written.
        ServingError: `folder` is a file, or holds something else and `force` is not set.
    """
    folder = Path(folder)
    with files.naming_errors("written", folder):
        _check_replaceable(folder, force)
        folder.parent.mkdir(parents=True, exist_ok=True)
    marker = json.dumps({"generator": _GENERATOR, **source}, indent=2) + "\n"
    with files.new_tree(folder) as temporary:
        for path, text in {**texts, _MARKER: marker}.items():
            target = temporary / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")


def _check_replaceable(folder: Path, force: bool) -> None:
    if folder.exists() and not folder.is_dir():
        raise ServingError(f"--output names a folder; {folder} is a file.")
    if not folder.exists() or force or not any(folder.iterdir()):
        return
    try:
        generator = json.loads((folder / _MARKER).read_text(encoding="utf-8"))["generator"]
    except (OSError, ValueError, LookupError, TypeError):
        generator = None
    if generator != _GENERATOR:
        raise ServingError(
            f"{folder} is not empty and was not written by `{_GENERATOR}`. Give --output another "
            "folder, or --force to replace it."
        )
