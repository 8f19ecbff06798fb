"""Reading the body of a request from an ASGI server."""

from __future__ import annotations

import contextlib
from typing import Any

from serving.model_server.limits import body_too_large


class Disconnected(Exception):
    """The client is gone before its request was there."""


class RequestBody:
    """The body of one request.

    Attributes:
        was_asked_for: whether any of it was read: `100 Continue` is sent then.
        is_complete: whether all of it was.
    """

    def __init__(self, receive: Any):
        self._receive = receive
        self.was_asked_for = False
        self.is_complete = False

    async def read(self, headers: dict[bytes, bytes], limit: int) -> bytes:
        """Return all of it.

        Raises:
            BodyTooLarge: there are more than `limit` bytes, if that is not 0.
            Disconnected: the client has left.
        """
        if limit and int(headers.get(b"content-length", 0)) > limit:
            raise body_too_large(limit)
        parts = []
        size = 0
        while not self.is_complete:
            parts.append(await self._next())
            size += len(parts[-1])
            if limit and size > limit:
                raise body_too_large(limit)
        return b"".join(parts)

    async def skip(self) -> None:
        """Return when the rest has come, or the client has left."""
        with contextlib.suppress(Disconnected):
            while not self.is_complete:
                await self._next()

    async def _next(self) -> bytes:
        self.was_asked_for = True
        message = await self._receive()
        if message["type"] != "http.request":
            raise Disconnected
        self.is_complete = not message["more_body"]
        return message["body"]
