"""Headers of every answer: what browsers may do with it."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from serving.gateway.protection.asgi import App, Receive, Scope, Send

# Nothing from elsewhere, nothing inline; `blob:` shows what was dropped before it is sent.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; font-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
# OpenAPI's page sets styles of its own.
_DOCS_POLICY = _POLICY.replace("style-src 'self'", "style-src 'self' 'unsafe-inline'")
_HEADERS = {
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"cross-origin-opener-policy": b"same-origin",
    b"permissions-policy": b"camera=(), microphone=(), geolocation=()",
    b"x-frame-options": b"DENY",
}


class SecurityHeaders:
    """Adds the headers, where a route has not set its own.

    Args:
        app: what answers.
    """

    def __init__(self, app: App):
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and its answer back with more headers."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        policy = _DOCS_POLICY if scope["path"] == "/docs" else _POLICY

        async def added(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                present = {name.lower() for name, _ in message["headers"]}
                more = {b"content-security-policy": policy.encode(), **_HEADERS}
                message["headers"] = [
                    *message["headers"],
                    *((name, value) for name, value in more.items() if name not in present),
                ]
            await send(message)

        return await self._app(scope, receive, added)
