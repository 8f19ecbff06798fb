"""The image files of a folder, found by names that lack folder or suffix."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from tfx_pipeline.data.images import SUFFIXES, strip_suffix
from tfx_pipeline.storage.listing import list_files
from vl_models.errors import UserError


class ImageFiles:
    """All images below a folder, at any depth.

    Args:
        folder: an absolute path.

    Raises:
        UserError: there is no such folder, or no image in it.
    """

    def __init__(self, folder: Path):
        if not folder.is_dir():
            raise UserError(f"{folder}: no such image folder. Give it with --images.")
        self._folder = folder
        self._names: dict[str, list[str]] = {}
        for stamp in list_files(str(folder)):
            name = stamp.uri[len(str(folder)) + 1 :]
            if name.lower().endswith(SUFFIXES):
                stem = PurePosixPath(strip_suffix(name)).name
                self._names.setdefault(stem, []).append(name)
        if not self._names:
            raise UserError(f"{folder}: holds no image. Give the folder of images with --images.")

    def find(self, names: Sequence[str]) -> str | None:
        """Return the file of the first name that there is, relative to the folder; else None.

        A name that several files have, in several folders, is that of the first one in order.
        """
        for name in names:
            if (self._folder / name).is_file():
                return PurePosixPath(name).as_posix()
            if found := self._names.get(PurePosixPath(strip_suffix(name)).name):
                return sorted(found)[0]
        return None
