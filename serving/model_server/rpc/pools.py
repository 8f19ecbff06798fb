"""The threads of gRPC: what is quick, or waits, does not stand in line behind predictions."""

from __future__ import annotations

import time

from serving.model_server.threads import HandlerPool, seconds_until

# Each reload that waits for its models has a thread.
MAX_RELOADS = 64
_QUICK_THREADS = 4
_PROFILER_THREADS = 2


class Pools:
    """One pool for each kind of call.

    Threads are made when they are needed.

    Args:
        predictions: how many predictions may run at a time.

    Attributes:
        predictions: runs models.
        quick: health, states, metadata.
        reloads: waits for models to be loaded.
        profiler: waits for the end of a trace.
    """

    def __init__(self, predictions: int):
        self.predictions = HandlerPool(predictions, "grpc")
        self.quick = HandlerPool(_QUICK_THREADS, "grpc-quick")
        # Some are left to refuse those above the limit.
        self.reloads = HandlerPool(MAX_RELOADS + _QUICK_THREADS, "grpc-reload")
        self.profiler = HandlerPool(_PROFILER_THREADS, "grpc-profiler")

    def wait(self, timeout: float) -> bool:
        """Whether all calls have ended, after `timeout` seconds at most."""
        end = time.monotonic() + timeout
        pools = (self.predictions, self.quick, self.reloads, self.profiler)
        return all(pool.wait(seconds_until(end)) for pool in pools)
