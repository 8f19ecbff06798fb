"""Copies of folders that belong to whoever makes them, whatever the rights on the source are.

Artifact stores give files that nobody may write, in folders that nobody may write. A copy has the
modes of any new file of this user (umask), and the times of its making.
"""

from __future__ import annotations

import shutil
import stat
from pathlib import Path

from serving.errors import ServingError
from serving.files import naming_errors


def copy_tree(source: Path, target: Path) -> None:
    """Copy a folder to `target`, which must not exist; links are followed.

    Raises:
        ServingError: something in the source is neither file nor folder, a link that leads nowhere
            or back to a folder above it, or a name that cannot be written down.
        DiskError: the source cannot be read, or the target not written.
    """
    with naming_errors(f"copied to {target.parent}", source):
        _copy_folder(source, target, ())


def _copy_folder(source: Path, target: Path, above: tuple[tuple[int, int], ...]) -> None:
    status = source.stat()
    identity = (status.st_dev, status.st_ino)
    if identity in above:
        raise ServingError(f"{source} is a link to a folder above it. Remove the link.")
    target.mkdir()
    for child in sorted(source.iterdir()):
        if not child.name.isprintable():
            raise ServingError(f"{str(child)!r} has a name that cannot be printed. Rename it.")
        if child.is_symlink() and not child.exists():
            raise ServingError(f"{child} is a link to nothing. Remove it, or restore its target.")
        mode = child.stat().st_mode
        if stat.S_ISDIR(mode):
            _copy_folder(child, target / child.name, (*above, identity))
        elif stat.S_ISREG(mode):
            shutil.copyfile(child, target / child.name)
        else:
            raise ServingError(f"{child} is neither a file nor a folder. Remove it.")
