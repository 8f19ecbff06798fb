"""Files that appear complete or not at all: written under a temporary name, synced, renamed."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import logging
import os
import re
import shutil
import stat
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from serving.errors import DISK_REMEDIES, DiskError, MissingFileError, ServingError

# A leading dot keeps it out of listings; TensorFlow Serving ignores names that are not numbers.
TEMPORARY_PREFIX = ".tmp-"
# A temporary name, which becomes its first group; that one is told people.
_TEMPORARY = re.compile(rf"{re.escape(TEMPORARY_PREFIX)}([^/]+)-[0-9a-f]{{12}}(?=/|$)")

_OTHER_REMEDY = "Look at the disk and the folders on the way to it."

_logger = logging.getLogger(__name__)


def temporary_name(target: Path) -> Path:
    """Return a fresh name beside `target`, so that the rename stays within one file system."""
    return target.parent / f"{TEMPORARY_PREFIX}{target.name}-{uuid.uuid4().hex[:12]}"


@contextlib.contextmanager
def naming_errors(action: str, place: str | Path) -> Iterator[None]:
    """Turn what the system refuses in this block into a ServingError.

    Args:
        action: what is tried, such as "read".
        place: of which it is said where the system names no file.

    Raises:
        MissingFileError: something is not there.
        DiskError: anything else that the system refuses.
    """
    try:
        yield
    except (FileNotFoundError, NotADirectoryError) as error:
        raise MissingFileError(_refusal(action, place, error)) from error
    except OSError as error:
        raise DiskError(_refusal(action, place, error)) from error


def read_text(path: str | Path) -> str:
    """Return the text of a UTF-8 file.

    Raises:
        MissingFileError: it is not there.
        ServingError: it is no file, cannot be read, or is not UTF-8.
    """
    try:
        return read_bytes(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise ServingError(f"{path} is not UTF-8 text: {error}. Restore it from a copy.") from None


def read_bytes(path: str | Path) -> bytes:
    """Return the content of a file.

    Raises:
        MissingFileError: it is not there.
        ServingError: it is no file, or cannot be read.
    """
    path = Path(path)
    with naming_errors("read", path):
        try:
            mode = path.stat().st_mode
        except ValueError as error:  # a NUL, or what is no Unicode
            raise ServingError(f"{str(path)!r} cannot be the name of a file: {error}.") from None
        if not stat.S_ISREG(mode):  # reading a pipe would wait for ever
            raise ServingError(f"{path} is not a file. Restore the file from a copy.")
        return path.read_bytes()


def remove_tree(folder: Path) -> None:
    """Delete a folder of this user's, folders in it that must not be written included.

    Raises:
        OSError: something in it belongs to another user, or is not there.
    """
    _make_writable(folder)
    shutil.rmtree(folder)


def remove_leftovers(folder: Path) -> None:
    """Delete what writers that were killed left in `folder`; the caller holds the lock.

    What another user left is only warned about: it is in nobody's way.
    """
    for path in folder.glob(f"{TEMPORARY_PREFIX}*"):
        try:
            if path.is_dir() and not path.is_symlink():
                remove_tree(path)
            else:
                path.unlink()
        except OSError as error:
            _logger.warning("%s is left of an earlier writer and stays: %s", path, error)


def write_atomically(path: Path, text: str) -> None:
    """Replace the file `path` by `text` (UTF-8); a reader sees the old or the new one."""
    temporary = temporary_name(path)
    try:
        temporary.write_text(text, encoding="utf-8")
        _sync(temporary)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync(path.parent)


@contextlib.contextmanager
def new_tree(target: Path) -> Iterator[Path]:
    """Yield the name of a folder to write, which becomes `target` when the block ends well.

    A folder that is there already is replaced. If the block does not end well nothing stays.

    Raises:
        DiskError: the system refuses a write.
    """
    temporary = temporary_name(target)
    try:
        with naming_errors("written", target):
            yield temporary
            move_tree_into_place(temporary, target)
    except BaseException:
        if temporary.exists():
            remove_tree(temporary)
        raise


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
        remove_tree(aside)
    else:
        temporary.replace(target)
    _sync(target.parent)


def checksums(folder: Path) -> dict[str, str]:
    """SHA-256 of every file under `folder`, by relative path, in path order."""
    return {
        path.relative_to(folder).as_posix(): sha256(path)
        for path in sorted(p for p in folder.rglob("*") if p.is_file())
    }


def sha256(path: Path) -> str:
    """SHA-256 of the content of a file, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def exclusive_lock(path: Path, timeout: float) -> Iterator[None]:
    """Hold an advisory lock on `path`; the system frees it when the holder dies.

    Raises:
        ServingError: another process still holds it after `timeout` seconds.
    """
    deadline = time.monotonic() + timeout
    try:
        file = path.open("w")
    except PermissionError:
        file = path.open()  # another user's: who may read it can lock it
    with file:
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


def _make_writable(folder: Path) -> None:
    """Let this user list and change a folder and those in it; links are not followed."""
    mode = stat.S_IMODE(folder.stat().st_mode)
    if mode & stat.S_IRWXU != stat.S_IRWXU:
        folder.chmod(mode | stat.S_IRWXU)
    for child in folder.iterdir():
        if child.is_dir() and not child.is_symlink():
            _make_writable(child)


def _refusal(action: str, place: str | Path, error: OSError) -> str:
    """Say what was refused, of which file, and what to do."""
    named = [n for n in (error.filename, error.filename2) if isinstance(n, str | bytes | Path)]
    where = " and ".join(_TEMPORARY.sub(r"\1", os.fsdecode(name)) for name in named) or str(place)
    reason = (error.strerror or str(error)).lower()
    remedy = DISK_REMEDIES.get(error.errno or 0, _OTHER_REMEDY)
    return f"{where} cannot be {action}: {reason}. {remedy}"


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
