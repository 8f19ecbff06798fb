"""Returning memory to the system: of models that are unloaded, and of large requests."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable

# malloc.h
_M_ARENA_MAX = -8


def _find(name: str) -> Callable[..., int] | None:
    try:
        return getattr(ctypes.CDLL(None), name)
    except (AttributeError, OSError):
        # Another C library than glibc.
        return None


_malloc_trim = _find("malloc_trim")
_mallopt = _find("mallopt")


def limit_arenas() -> None:
    """Let threads share heaps, as many as there are cores; before the process has threads.

    Each heap but the first keeps up to 64 MB free at its end for ever, where `release_memory` does
    not reach, and glibc would make eight for each core. Who sets MALLOC_ARENA_MAX is obeyed.
    """
    if _mallopt is not None and "MALLOC_ARENA_MAX" not in os.environ:
        _mallopt(_M_ARENA_MAX, max(2, len(os.sched_getaffinity(0))))


def use_system_allocator() -> None:
    """Lets TensorFlow take memory for tensors from the C library; before the first one is made.

    With oneDNN, its default on x86, TensorFlow has a pool of its own for large tensors, which keeps
    the largest amount that all models together ever needed
    (tensorflow/core/common_runtime/mkl_cpu_allocator.h). Who prefers the pool sets the variable
    to 0.
    """
    os.environ.setdefault("TF_ONEDNN_USE_SYSTEM_ALLOCATOR", "1")


def release_memory() -> None:
    """Hands free pages of the C heap back to the system, where the C library can.

    glibc keeps what was freed below a block that is still in use, and each thread that loaded a
    model has a heap of its own: without this the memory of a model that is gone stays resident.
    """
    if _malloc_trim is not None:
        _malloc_trim(0)
