"""uvicorn's HTTP protocol with what it lacks: time limits for reading, a bound for the head.

Without them a client that sends half a request holds a connection, and memory, for ever.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

# Request line and headers together.
MAX_HEAD_BYTES = 64 << 10
_EMPTY = b"\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
_TOO_SLOW = b"HTTP/1.1 408 Request Timeout" + _EMPTY
_HEAD_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large" + _EMPTY


class BoundedHttpProtocol(HttpToolsProtocol):
    """One connection.

    Args:
        read_timeout: seconds in which a head has to arrive as a whole, and each next piece of a
            body; a connection on which nothing more is asked is uvicorn's to close.
    """

    def __init__(self, *args: Any, read_timeout: float, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._read_timeout = read_timeout
        self._has_begun = False
        self._in_head = True
        self._reading = True
        self._head_bytes = 0
        self._heard = 0.0
        self._watch: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Start the clock."""
        super().connection_made(transport)
        self._heard = self.loop.time()
        # One timer that is moved on only when it rings costs nothing per request.
        self._watch = self.loop.call_later(self._read_timeout, self._check_clock)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        if self._watch is not None:
            self._watch.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what came in."""
        self._has_begun = True
        if self._in_head:
            self._head_bytes += len(data)
        else:
            self._heard = self.loop.time()
        super().data_received(data)
        if self._in_head and self._head_bytes > MAX_HEAD_BYTES:
            self._end(_HEAD_TOO_LARGE)

    def on_message_begin(self) -> None:
        """A request begins."""
        self._in_head = self._reading = True
        self._head_bytes = 0
        self._heard = self.loop.time()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The body follows."""
        self._in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The request is there."""
        self._reading = False
        super().on_message_complete()

    def _check_clock(self) -> None:
        left = self._heard + self._read_timeout - self.loop.time()
        # A full buffer is ours to empty: the client cannot send.
        if self._reading and left <= 0 and not self.flow.read_paused:
            self._end(_TOO_SLOW)
        else:
            left = left if self._reading and left > 0 else self._read_timeout
            self._watch = self.loop.call_later(left, self._check_clock)

    def _end(self, response: bytes) -> None:
        if self.transport.is_closing():
            return
        # Whoever only connected hears nothing: it would be taken for the answer to what comes next.
        if self._has_begun and (self._in_head or not self.cycle.response_started):
            self.transport.write(response)
        self.transport.close()
