"""The errors of the serving room: wrong input from a person, and the status of a request."""

from __future__ import annotations

import enum
import errno


class ServingError(ValueError):
    """Wrong input from a person: the message says what was wrong, where, and what to do."""


class MissingFileError(ServingError):
    """A file that is not there."""


class UnknownItemError(ServingError):
    """An id that no item of the index has."""


class DiskError(ServingError):
    """A full disk, or a place that this user must not read or write."""


_NO_ROOM = "Free space there, or name a folder on another disk."
_NO_RIGHT = "Give this user the right to it, or name another folder."
DISK_REMEDIES = {
    errno.ENOSPC: _NO_ROOM,
    errno.EDQUOT: _NO_ROOM,
    errno.EFBIG: "Raise the limit on the size of files (ulimit -f), or name another file system.",
    errno.EACCES: _NO_RIGHT,
    errno.EPERM: _NO_RIGHT,
    errno.EROFS: "It can only be read; name another folder.",
}


class Code(enum.IntEnum):
    """Canonical status codes, with the numbers of gRPC and absl."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class VersionTakenError(ServingError):
    """A release number that was published with other content before."""


class StatusError(ServingError):
    """A request (or the load of a model) that ended with a status other than OK."""

    def __init__(self, code: Code, message: str):
        super().__init__(message)
        self.code = code
        self.message = message

    def __reduce__(self):
        return type(self), (self.code, self.message)

    @property
    def text(self) -> str:
        """`CODE: message`, as TensorFlow prints a status."""
        return f"{self.code.name}: {self.message}"


def invalid(message: str) -> StatusError:
    """INVALID_ARGUMENT: a request, an option or a file that is wrong."""
    return StatusError(Code.INVALID_ARGUMENT, message)
