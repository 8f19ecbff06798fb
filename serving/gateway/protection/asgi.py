"""What the protections share: headers of a request, and an answer instead of the application's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from serving.gateway.errors import error_response

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


def header(scope: Scope, name: str) -> str:
    """Return a header of a request, "" if it has none."""
    wanted = name.lower().encode()
    for key, value in scope["headers"]:
        if key == wanted:
            return value.decode("latin-1")
    return ""


async def refuse(
    scope: Scope, receive: Receive, send: Send, status: int, code: str, message: str, **more: str
) -> None:
    """Answer with an error."""
    await error_response(status, code, message, **more)(scope, receive, send)
