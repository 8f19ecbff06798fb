"""The client for asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Self

import grpc.aio

from serving.client.base import Send
from serving.client.batching import Answer, Chunk
from serving.client.calls import Calls
from serving.client.requests import Call


class AsyncPredictClient(Calls):
    """PredictClient for asyncio: the same methods, arguments, results and errors, to be awaited.

    Belongs to the event loop of its first call; it may be made before there is one. Cancelling a
    call cancels it on the server.
    """

    async def close(self) -> None:
        """Close the channel; calls that are under way are cancelled."""
        self._closed = True
        if self._channel is not None:
            await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    def _connect(self) -> None:
        # A channel belongs to the event loop that runs when it is made: not before the first call.
        pass

    async def _send(self, call: Call[Any], timeout: float | None) -> Any:
        if self._channel is None:
            self._open(grpc.aio)
        return await self._method(call)(call.request, timeout=timeout, metadata=self._metadata)

    async def _sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def _gather(self, send: Send, chunks: Sequence[Chunk], concurrency: int) -> list[Answer]:
        free = asyncio.Semaphore(concurrency)

        async def limited(chunk: Chunk) -> Answer:
            async with free:
                return await send(chunk)

        return await asyncio.gather(*map(limited, chunks))
