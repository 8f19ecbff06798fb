"""One version of one model: its state, and who is using it."""

from __future__ import annotations

import enum
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from serving.errors import StatusError


class State(enum.IntEnum):
    """Life of a version, with the numbers of ModelVersionStatus.State."""

    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


class Servable(Protocol):
    """What can be managed: anything that can be closed."""

    def close(self) -> None:
        """Frees what it holds."""


# A local folder, or the URI of one elsewhere.
Location = Path | str
Loader = Callable[[str, int, Location], Servable]


class Entry:
    """One version of one model.

    Everything but the users is changed under the lock of the manager alone. The users have a lock
    of their own, so that a request waits for nothing but other requests to the same version.

    Attributes:
        model: what was loaded; there while the state is AVAILABLE or UNLOADING.
        aspired: whether the version is wanted.
        error: why the version ended, if it did not just leave.
        attempts: how many loads have failed.
        retry_at: when the next load is due (time.monotonic()); None if none is.
        busy: whether a thread is loading or unloading it.
    """

    def __init__(self, name: str, version: int, path: Location):
        self.name = name
        self.version = version
        self.path = path
        self.state = State.START
        self.aspired = True
        self.model: Servable | None = None
        self.error: StatusError | None = None
        self.attempts = 0
        self.retry_at: float | None = None
        self.busy = False
        self._users = 0
        self._retired = False
        self._lock = threading.Lock()

    @property
    def in_use(self) -> bool:
        """Whether a request holds it."""
        return self._users > 0

    def acquire(self) -> bool:
        """Count a user; False, and none counted, once the version is retired."""
        with self._lock:
            if self._retired:
                return False
            self._users += 1
            return True

    def release(self) -> bool:
        """Count a user less; True if it was the last one of a retired version."""
        with self._lock:
            self._users -= 1
            return self._retired and not self._users

    def retire(self) -> None:
        """Take no more users."""
        with self._lock:
            self._retired = True
