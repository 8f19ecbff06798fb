"""What to say of a full disk, or of a place that must not be written."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator

from serving.errors import DISK_REMEDIES

# Libraries in C++ and Rust keep the system's words only, if not its number.
_WORDS = re.compile(
    "|".join(
        f"(?P<e{number}>{re.escape(os.strerror(number))})"
        for number in DISK_REMEDIES
        if number != errno.EPERM
    ),
    re.IGNORECASE,
)
_PATH = re.compile(r"""(?:^|[\s'"(=])(?:file://)?(/[^\s'":;,()]+)""")


def explain_disk_error(error: BaseException, writes_to: str | None = None) -> str | None:
    """Say in one line where a disk or its rights stood in the way, and what to do.

    Args:
        error: whatever was raised; what caused it is looked at, too.
        writes_to: the folder that is written, for an error that does not name its file.

    Returns:
        None if the error is of another kind, or no place is known.
    """
    for one in _chain(error):
        found = _number_of(one)
        path = _path_of(one)
        if found is None:
            continue
        # Without a path, "permission denied" may be a port's or a server's.
        if path is None and found in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            path = writes_to
        if path is not None:
            return f"{path}: {os.strerror(found).lower()}. {DISK_REMEDIES[found]}"
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        yield error
        seen.add(id(error))
        error = error.__cause__ or error.__context__


def _number_of(error: BaseException) -> int | None:
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno if error.errno in DISK_REMEDIES else None
    match = _WORDS.search(str(error))
    return None if match is None or match.lastgroup is None else int(match.lastgroup[1:])


def _path_of(error: BaseException) -> str | None:
    name = getattr(error, "filename", None)
    if isinstance(name, bytes | str):
        return os.fsdecode(name)
    match = _PATH.search(str(error))
    return None if match is None else match[1]
