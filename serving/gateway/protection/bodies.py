"""How much a request may bring."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from starlette.exceptions import HTTPException

from serving.gateway.protection.asgi import App, Receive, Scope, Send, header, refuse


class BodyLimit:
    """Answers 413 to bodies that are too large, by what they say and by what comes.

    Args:
        app: what is protected.
        most_bytes: of a body.
    """

    def __init__(self, app: App, most_bytes: int):
        self._app = app
        self._most = most_bytes
        self._message = f"A request has at most {most_bytes:,} bytes."

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer 413."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        length = header(scope, "content-length")
        if length.isdecimal() and int(length) > self._most:
            return await self._refuse(scope, receive, send)
        received = 0

        async def counted() -> MutableMapping[str, Any]:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._most:  # whoever reads the body passes this on
                raise HTTPException(413, self._message, {"Connection": "close"})
            return message

        return await self._app(scope, counted, send)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        await refuse(
            scope,
            receive,
            send,
            413,
            "too_large",
            self._message,
            Connection="close",
        )
