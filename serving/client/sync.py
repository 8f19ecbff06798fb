"""The client for threads."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

import grpc

from serving.client.base import BaseClient, Send
from serving.client.batching import Answer, Chunk
from serving.client.calls import Calls
from serving.client.requests import Call

P = ParamSpec("P")
R = TypeVar("R")


def _complete(coroutine: Coroutine[Any, Any, R]) -> R:
    """Run a coroutine in which nothing waits for an event loop: its first step is its last."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    raise RuntimeError(f"{coroutine} waits for an event loop; PredictClient has none.")


def _blocking(
    call: Callable[Concatenate[BaseClient, P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate[BaseClient, P], R]:
    """Return a call as a method that returns when it is done, with its signature and docstring."""

    @functools.wraps(call)
    def method(self: BaseClient, *args: P.args, **kwargs: P.kwargs) -> R:
        return _complete(call(self, *args, **kwargs))

    return method


class PredictClient(BaseClient):
    """Calls a model server (TensorFlow Serving or the embedded one) and waits for the answers.

    Safe to share between threads: one HTTP/2 channel carries all calls. Every method raises
    StatusError if the server refused the request or did not answer (`.code` says which), and
    ServingError for arguments that make no request.
    """

    predict = _blocking(Calls.predict)
    classify = _blocking(Calls.classify)
    regress = _blocking(Calls.regress)
    multi_inference = _blocking(Calls.multi_inference)
    model_metadata = _blocking(Calls.model_metadata)
    model_status = _blocking(Calls.model_status)
    reload_config = _blocking(Calls.reload_config)
    is_healthy = _blocking(Calls.is_healthy)
    wait_until_ready = _blocking(Calls.wait_until_ready)

    def close(self) -> None:
        """Close the channel; calls that are under way are cancelled."""
        self._closed = True
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _connect(self) -> None:
        self._open(grpc)

    async def _send(self, call: Call[Any], timeout: float | None) -> Any:
        return self._method(call)(call.request, timeout=timeout, metadata=self._metadata)

    async def _sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    async def _gather(self, send: Send, chunks: Sequence[Chunk], concurrency: int) -> list[Answer]:
        with ThreadPoolExecutor(min(concurrency, len(chunks)), "predict") as pool:
            return list(pool.map(lambda chunk: _complete(send(chunk)), chunks))
