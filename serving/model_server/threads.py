"""Threads that do work from a queue, and that a stop can leave behind.

Those of concurrent.futures are waited for at the end of the process, however long they take: a load
that hangs, or a prediction, would keep it alive.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from concurrent import futures
from typing import Any

_STOP = None


class Threads:
    """A fixed number of daemon threads, all started at once.

    Args:
        count: how many.
        name: prefix of their names.
    """

    def __init__(self, count: int, name: str):
        self._jobs: queue.SimpleQueue = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=self._work, name=f"{name}_{i}", daemon=True)
            for i in range(count)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, function: Callable[..., None], *arguments: Any) -> None:
        """Call `function(*arguments)` in one of the threads; it must not raise."""
        self._jobs.put((function, arguments))

    def stop(self, timeout: float | None = None) -> bool:
        """Return when what was submitted has been done, or after `timeout` seconds.

        Returns:
            Whether all of it was done. What was not goes on.
        """
        for _ in self._threads:
            self._jobs.put(_STOP)
        end = None if timeout is None else time.monotonic() + timeout
        return all(ends(thread, end) for thread in self._threads)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not _STOP:
            function, arguments = job
            function(*arguments)
            # Nothing of this call is kept while waiting for the next.
            del job, function, arguments


class HandlerPool(futures.ThreadPoolExecutor):
    """The threads that gRPC runs some handlers in; it knows which calls are under way.

    gRPC takes nothing but a ThreadPoolExecutor.
    """

    def __init__(self, count: int, name: str):
        super().__init__(count, thread_name_prefix=name)
        self._under_way: set[futures.Future] = set()

    def submit(self, *arguments: Any, **keywords: Any) -> futures.Future:
        """As that of ThreadPoolExecutor."""
        future = super().submit(*arguments, **keywords)
        self._under_way.add(future)
        future.add_done_callback(self._under_way.discard)
        return future

    def wait(self, timeout: float) -> bool:
        """Whether all calls have ended, after `timeout` seconds at most."""
        return not futures.wait(self._under_way.copy(), timeout).not_done


def seconds_until(end: float) -> float:
    """Seconds that are left until the `time.monotonic()` `end`; never below 0."""
    return max(0.0, end - time.monotonic())


def ends(thread: threading.Thread, end: float | None) -> bool:
    """Whether `thread` has ended by the `time.monotonic()` `end`; None waits for it."""
    thread.join(None if end is None else seconds_until(end))
    return not thread.is_alive()
