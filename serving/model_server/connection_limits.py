"""How many connections there may be at a time, so that descriptors are left for all else."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import NamedTuple

# More help nobody, and each costs memory.
_MOST = 1 << 16
_LEAST = 4
# Left free for loading models and for what libraries open: a part of what there is, between these.
_SPARE = (16, 256)


class ConnectionLimits(NamedTuple):
    """Connections at a time, of each interface."""

    grpc: int
    rest: int


def connection_limits(with_rest: bool) -> ConnectionLimits:
    """Share what the limit of open files (RLIMIT_NOFILE) leaves now among the interfaces.

    Args:
        with_rest: whether there is a REST interface to share with.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return ConnectionLimits(_MOST, _MOST)
    free = soft - _open_descriptors()
    spare = min(max(_SPARE[0], free // 4), _SPARE[1])
    share = max(_LEAST, min(_MOST, (free - spare) // (2 if with_rest else 1)))
    return ConnectionLimits(share, share)


def _open_descriptors() -> int:
    # The listing itself has one.
    return sum(1 for _ in Path("/dev/fd").iterdir()) - 1
