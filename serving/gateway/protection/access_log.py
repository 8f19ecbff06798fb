"""One JSON line for each request, and its place in the metrics. No queries, tokens or addresses."""

from __future__ import annotations

import datetime
import json
import sys
import time
from collections.abc import MutableMapping
from typing import Any, TextIO

from serving.gateway.metrics import GatewayMetrics
from serving.gateway.protection.asgi import App, Receive, Scope, Send

_KNOWN = (
    "/v1/search",
    "/v1/suggest",
    "/v1/collection",
    "/v1/events",
    "/v1/session",
    "/v1/access",
    "/healthz",
    "/readyz",
    "/metrics",
    "/docs",
    "/openapi.json",
)
_GROUPS = ("/v1/items/", "/images/", "/thumbnails/", "/static/")


class AccessLog:
    """Writes what was asked and answered.

    Args:
        app: what answers.
        metrics: get the same.
        stream: where lines go to; None writes none.
    """

    def __init__(self, app: App, metrics: GatewayMetrics, stream: TextIO | None = sys.stderr):
        self._app = app
        self._metrics = metrics
        self._stream = stream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and note its answer."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        started = time.perf_counter()
        status, size = 500, 0

        async def noted(message: MutableMapping[str, Any]) -> None:
            nonlocal status, size
            if message["type"] == "http.response.start":
                status = message["status"]
            size += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, receive, noted)
        finally:
            seconds = time.perf_counter() - started
            route = route_of(scope["path"])
            self._metrics.requests.labels(route, status).inc()
            self._metrics.seconds.labels(route).observe(seconds)
            if self._stream is not None:
                line = {
                    "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds"),
                    "method": scope["method"],
                    "route": route,
                    "status": status,
                    "milliseconds": round(1000 * seconds, 1),
                    "bytes": size,
                }
                self._stream.write(f"{json.dumps(line)}\n")
                self._stream.flush()


def route_of(path: str) -> str:
    """Return a path without what differs from request to request."""
    if path == "/" or path in _KNOWN:
        return path
    return next((group for group in _GROUPS if path.startswith(group)), "other")
