"""Files that appear complete or not at all: written under a temporary name, synced, renamed."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from serving.errors import ServingError

# A leading dot keeps it out of listings; TensorFlow Serving ignores names that are not numbers.
TEMPORARY_PREFIX = ".tmp-"


def temporary_name(target: Path) -> Path:
    """Return a fresh name beside `target`, so that the rename stays within one file system."""
    return target.parent / f"{TEMPORARY_PREFIX}{target.name}-{uuid.uuid4().hex[:12]}"


def remove_leftovers(folder: Path) -> None:
    """Delete what writers that were killed left in `folder`; the caller holds the lock."""
    for path in folder.glob(f"{TEMPORARY_PREFIX}*"):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def write_atomically(path: Path, text: str) -> None:
    """Replace the file `path` by `text` (UTF-8); a reader sees the old or the new one."""
    temporary = temporary_name(path)
    temporary.write_text(text, encoding="utf-8")
    _sync(temporary)
    temporary.replace(path)
    _sync(path.parent)


def move_tree_into_place(temporary: Path, target: Path) -> None:
    """Rename the complete folder `temporary` to `target`, replacing a folder of that name."""
    for path in temporary.rglob("*"):
        _sync(path)
    _sync(temporary)
    if target.exists():
        # A non-empty folder cannot be renamed over: it steps aside first.
        aside = temporary_name(target)
        target.replace(aside)
        temporary.replace(target)
        shutil.rmtree(aside)
    else:
        temporary.replace(target)
    _sync(target.parent)


def checksums(folder: Path) -> dict[str, str]:
    """SHA-256 of every file under `folder`, by relative path, in path order."""
    result = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        with path.open("rb") as file:
            result[path.relative_to(folder).as_posix()] = hashlib.file_digest(
                file, "sha256"
            ).hexdigest()
    return result


@contextlib.contextmanager
def exclusive_lock(path: Path, timeout: float) -> Iterator[None]:
    """Hold an advisory lock on `path`; the system frees it when the holder dies.

    Raises:
        ServingError: another process still holds it after `timeout` seconds.
    """
    deadline = time.monotonic() + timeout
    with path.open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise ServingError(
                        f"Another process is publishing into {path.parent} and has held the lock "
                        f"{path.name} for {timeout:g} s. Wait for it, or stop it, and try again."
                    ) from None
                time.sleep(0.05)
        # Closing the file releases the lock.
        yield


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
