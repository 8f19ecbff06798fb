"""Patterns of record files, as globs take them."""

from __future__ import annotations

import glob
from pathlib import Path


def in_folder(pattern: str) -> str:
    """Return a pattern in which only the file's name is one: a folder may be called `[2024]`.

    Args:
        pattern: a path or a URI, such as ``…/Split-train/data_tfrecord-*``.
    """
    folder, slash, name = pattern.rpartition("/")
    if glob.has_magic(folder) and "://" not in folder:
        # Beam lists what is in front of the first wildcard, and finds nothing in "".
        folder = str(Path(folder).absolute())
    return f"{glob.escape(folder)}{slash}{name}"
