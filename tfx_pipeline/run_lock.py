"""One training per folder: a lock that the system frees when its holder ends, however it ends."""

from __future__ import annotations

import datetime
import errno
import fcntl
import json
import logging
import os
import socket
from pathlib import Path
from types import TracebackType
from typing import Self

from vl_models.errors import Unavailable

LOCK_FILE = ".lock"  # says who holds the lock; left where it is

# Some network file systems know no locks; a training there goes without.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)

logger = logging.getLogger(__name__)


class RunLock:
    """The right to write a folder, held until `release`, or the end of the context or process.

    Args:
        folder: created if it does not exist.
        wait: whether `acquire` waits for the holder to end, instead of refusing.
    """

    def __init__(self, folder: Path, *, wait: bool = False) -> None:
        self.folder = folder
        self._wait = wait
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock; nothing happens if this object holds it already.

        Raises:
            Unavailable: another process, or another part of this one, holds it.
        """
        if self._descriptor is not None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        # Not truncated: the holder's name is in it.
        descriptor = os.open(self.folder / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if self._wait else fcntl.LOCK_NB))
        except BlockingIOError:
            holder = os.pread(descriptor, 1000, 0)
            os.close(descriptor)
            raise Unavailable(
                f"{self.folder} is in use by {_describe(holder)}. Wait until that has "
                "ended, or stop it, or name another folder."
            ) from None
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                os.close(descriptor)
                raise
            logger.warning("%s cannot be locked: %s.", self.folder, error.strerror)
        self._descriptor = descriptor
        now = datetime.datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
        own = {"pid": os.getpid(), "host": socket.gethostname(), "since": now}
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(own).encode(), 0)

    def release(self) -> None:
        """Give the lock back, if it is held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()


def _describe(content: bytes) -> str:
    """Say who holds the lock; the holder may not have written that yet."""
    try:
        holder = json.loads(content)
        return f"process {holder['pid']} on {holder['host']} since {holder['since']}"
    except (ValueError, KeyError, TypeError):
        return "another process"
