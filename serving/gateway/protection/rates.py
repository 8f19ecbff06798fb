"""How often one client may ask."""

from __future__ import annotations

import time
from collections import OrderedDict

from serving.gateway.protection.asgi import App, Receive, Scope, Send, header, refuse

_BURST_SECONDS = 4.0  # what was not asked in that time may be asked at once
_MOST_CLIENTS = 100_000
_FREE = ("/healthz", "/readyz", "/metrics")


class RateLimit:
    """Answers 429 to a client that asks too often; a bucket for each fills by the second.

    Args:
        app: what is protected.
        per_second: requests of one client.
        client_header: that a proxy puts the client's address in (its last entry counts); None is
            the connection's address. Others cannot be trusted: clients write them themselves.
    """

    def __init__(self, app: App, per_second: float, client_header: str | None):
        self._app = app
        self._per_second = per_second
        self._most = per_second * _BURST_SECONDS
        self._header = client_header
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # tokens, time

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer 429 and when to come again."""
        if scope["type"] != "http" or scope["path"] in _FREE:
            return await self._app(scope, receive, send)
        seconds = self._wait(self._client(scope), time.monotonic())
        if not seconds:
            return await self._app(scope, receive, send)
        return await refuse(
            scope,
            receive,
            send,
            429,
            "too_many_requests",
            f"More than {self._per_second:g} requests a second. Ask more slowly.",
            **{"Retry-After": str(int(seconds) + 1)},
        )

    def _wait(self, client: str, now: float) -> float:
        """Take a token of a client; returns the seconds until there is one, 0 if it had one."""
        tokens, last = self._buckets.pop(client, (self._most, now))
        tokens = min(self._most, tokens + (now - last) * self._per_second)
        granted = tokens >= 1
        self._buckets[client] = (tokens - 1 if granted else tokens, now)
        while len(self._buckets) > _MOST_CLIENTS:
            self._buckets.popitem(last=False)
        return 0.0 if granted else (1 - tokens) / self._per_second

    def _client(self, scope: Scope) -> str:
        if self._header is not None:
            return header(scope, self._header).rpartition(",")[2].strip()
        client = scope.get("client")
        return client[0] if client else ""
