"""What is in a folder, of a disk or of a bucket."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

from tfx_pipeline.storage.objects import Stamp, check_access, list_objects
from tfx_pipeline.storage.uris import is_uri, join
from vl_models.errors import UserError


def list_files(place: str) -> list[Stamp]:
    """Return all files below a folder, at any depth, sorted by their names.

    The folder's name is taken as it is written, whatever characters it holds. Links are followed,
    except back to a folder that the link itself is in.

    Args:
        place: a folder, or a single file; a path, or a URI of a bucket.

    Returns:
        The files, their names beginning with `place`; none if it is not there.

    Raises:
        UserError: a folder or a bucket cannot be listed.
    """
    if not is_uri(place):
        return sorted(_walk(place, ()))
    check_access(place)
    if found := list_objects(place):
        return found
    folder, _, name = place.rstrip("/").rpartition("/")
    if folder.endswith("/"):  # a bucket, and it is empty
        return []
    return [stamp for stamp in list_objects(folder) if stamp.uri == join(folder, name)]


def _walk(path: str, above: tuple[tuple[int, int], ...]) -> Iterator[Stamp]:
    try:
        status = Path(path).stat()
    except OSError:  # it is gone, or is a link to what is not there
        return
    if stat.S_ISREG(status.st_mode):
        yield Stamp(path, status.st_size, status.st_mtime)
    this = (status.st_dev, status.st_ino)
    if not stat.S_ISDIR(status.st_mode) or this in above:
        return
    try:
        names = [entry.name for entry in Path(path).iterdir()]
    except OSError as error:
        raise UserError(
            f"{path}: cannot be listed ({error.strerror}). Check the rights of the folder, or "
            "move it away."
        ) from error
    for name in names:
        yield from _walk(f"{path.rstrip('/')}/{name}", (*above, this))
