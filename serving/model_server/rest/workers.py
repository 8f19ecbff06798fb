"""Threads that run requests for an event loop.

What ThreadPoolExecutor and asyncio.wrap_future do together, with one hand-over each way: half of
what the interface itself costs per request went into theirs.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from serving.model_server.threads import Threads


class Workers:
    """A fixed number of threads, all started at once.

    Args:
        threads: how many.
        name: prefix of their names.
    """

    def __init__(self, threads: int, name: str):
        self._threads = Threads(threads, name)

    async def run(
        self, function: Callable[..., Any], *arguments: Any, timeout: float | None = None
    ) -> Any:
        """Return what `function(*arguments)` returns or raises in one of the threads.

        Raises:
            TimeoutError: it takes more than `timeout` seconds; it is made or goes on all the same.
        """
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        timer = None if timeout is None else loop.call_later(timeout, _expire, future)
        self._threads.submit(_call, loop, future, function, arguments)
        try:
            return await future
        finally:
            if timer is not None:
                timer.cancel()

    def stop(self, timeout: float | None = None) -> bool:
        """Return when the calls that are waiting and those under way have ended.

        Returns:
            False after `timeout` seconds, if some have not.
        """
        return self._threads.stop(timeout)


def _call(
    loop: asyncio.AbstractEventLoop,
    future: asyncio.Future,
    function: Callable[..., Any],
    arguments: tuple,
) -> None:
    settle: Callable[[asyncio.Future, Any], None]
    try:
        settle, value = _succeed, function(*arguments)
    except BaseException as error:
        settle, value = _fail, error
    # A closed loop: the server has stopped without waiting for this call.
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(settle, future, value)


def _succeed(future: asyncio.Future, value: Any) -> None:
    if not future.done():
        future.set_result(value)


def _fail(future: asyncio.Future, error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)


def _expire(future: asyncio.Future) -> None:
    if not future.done():
        future.set_exception(TimeoutError())
