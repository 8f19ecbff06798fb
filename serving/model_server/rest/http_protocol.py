"""uvicorn's HTTP protocol as a server for all clients needs it.

What it lacks: time limits for reading and writing, a bound for the head, ignoring offers of another
protocol, clients that close their side after the request, and an end that clients can read.
"""

from __future__ import annotations

import asyncio
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from serving.model_server.rest.acceptor import Connection, Connections

# Request line and headers together; what a body's chunks are framed with, between two of them.
MAX_HEAD_BYTES = 64 << 10
# How long the rest of a refused request is read, so that its sender gets to read the refusal.
_LINGER_SECONDS = 2.0
_HTTP_2_PREFACE = b"PRI * HTTP/2"


def _refusal(status: str, text: str = "") -> bytes:
    return (
        f"HTTP/1.1 {status}\r\nconnection: close\r\ncontent-type: text/plain; charset=utf-8\r\n"
        f"content-length: {len(text)}\r\n\r\n{text}"
    ).encode()


_TOO_SLOW = _refusal("408 Request Timeout")
_HEAD_TOO_LARGE = _refusal("431 Request Header Fields Too Large")
_NO_HTTP = _refusal("400 Bad Request", "Invalid HTTP request received.")
_NO_HTTP_2 = _refusal(
    "400 Bad Request",
    "This is the port of the REST API, which speaks HTTP/1.1. gRPC has another port.\n",
)


class RestProtocol(HttpToolsProtocol, Connection):
    """One connection.

    Args:
        connections: those that are open; it is told when this one is idle, and when it ends.
        read_timeout: seconds in which a head has to arrive as a whole, and each next piece of a
            body, and in which the client has to take some of an answer that waits for it; a
            connection on which nothing more is asked is uvicorn's to close.
    """

    def __init__(self, *args: Any, connections: Connections, read_timeout: float, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._all = connections
        self._read_timeout = read_timeout
        self._has_begun = False
        self._in_head = True
        self._reading = True
        # Bytes since a request began, or its last piece of a body.
        self._overhead = 0
        self._heard = 0.0
        # Of which answer how many bytes wait, when the clock was last looked at.
        self._unsent: tuple[Any, int] | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._linger: asyncio.TimerHandle | None = None
        # What is said after the last answer, before the connection ends; None while it goes on.
        self._farewell: bytes | None = None

    def connection_made(self, transport: Any) -> None:
        """Start the clock."""
        super().connection_made(transport)
        self._all.idle(self)
        self._heard = self.loop.time()
        # One timer that is moved on only when it rings costs nothing per request.
        self._watch = self.loop.call_later(self._read_timeout, self._check_clock)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clocks."""
        for timer in (self._watch, self._linger):
            # One that is left keeps the connection, and what was read of it.
            if timer is not None:
                timer.cancel()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)
        self._all.busy(self)
        self._all.ended()

    def data_received(self, data: bytes) -> None:
        """Parse what came in."""
        if self._farewell is not None:
            return
        self._all.busy(self)
        self._unset_keepalive_if_required()
        self._has_begun = True
        self._overhead += len(data)
        if not self._in_head:
            self._heard = self.loop.time()
        try:
            self._parse(data)
        except httptools.HttpParserError:
            self._refuse(_NO_HTTP_2 if data.startswith(_HTTP_2_PREFACE) else _NO_HTTP)
            return
        if self._reading and self._overhead > MAX_HEAD_BYTES:
            self._refuse(_HEAD_TOO_LARGE)

    def eof_received(self) -> bool:  # type: ignore[override]
        """Keep the connection for answers that are due, if the client has closed its side alone."""
        if self.scheme == "https":
            # TLS has no such thing.
            return False
        if self._farewell is None:
            if not self._is_answer_due():
                return False
            self._farewell = b""
        return self._linger is None

    def on_message_begin(self) -> None:
        """A request begins."""
        self._in_head = self._reading = True
        self._overhead = 0
        self._heard = self.loop.time()
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header; those that come after a body in chunks change nothing any more."""
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The body follows."""
        if self._is_offer():
            return
        if self.parser.get_http_version() == "1.0":
            self.expect_100_continue = False
        super().on_headers_complete()
        self._in_head = False

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._overhead = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is there."""
        if self._is_offer():
            return
        self._reading = False
        # uvicorn would leave this out where the answer came before the end of the request.
        self.cycle.more_body = False
        if not self.parser.should_keep_alive():
            # It may be said after the body, too.
            self.cycle.keep_alive = False
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Go on with the next request, if there is to be one."""
        if self._farewell is not None and not self.pipeline:
            self._say_farewell()
            return
        super().on_response_complete()
        if not self.pipeline and self.cycle.response_complete and not self._reading:
            self._all.idle(self)

    def _parse(self, data: bytes) -> None:
        while data:
            try:
                self.parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as upgrade:
                rest = data[upgrade.args[0] :]
            if self.parser.get_method() == b"CONNECT":
                # Answered as a request; what follows it is no HTTP.
                self._farewell = b""
                return
            # The parser would take the body for another protocol. It gets the same request without
            # the offer of one.
            version = self.parser.get_http_version().encode()
            head = [b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, version)]
            head += [b"%s: %s" % header for header in self.headers if header[0] != b"upgrade"]
            self.parser = httptools.HttpRequestParser(self)
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
            data = b"\r\n".join([*head, b"", b""]) + rest

    def _is_offer(self) -> bool:
        """Whether the request that is being read offers to go on with another protocol."""
        return self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT"

    def _is_answer_due(self) -> bool:
        """Whether there is a whole request without an answer; forgets one that is not whole."""
        cycle = self.cycle
        if cycle is None:
            return False
        if not cycle.more_body:
            return not cycle.response_complete
        if self.pipeline and self.pipeline[0][0] is cycle:
            self.pipeline.popleft()
            return True
        return False

    def _check_clock(self) -> None:
        left = self._heard + self._read_timeout - self.loop.time()
        size = self.transport.get_write_buffer_size()
        unsent = (self.cycle, size) if size else None
        if unsent is not None and unsent == self._unsent:
            # The client takes nothing: closing would wait for it.
            self.transport.abort()
            return
        self._unsent = unsent
        # A full buffer is ours to empty: the client cannot send.
        if self._reading and left <= 0 and not self.flow.read_paused and self._farewell is None:
            # Whoever only connected hears nothing: it would be taken for the answer to what comes
            # next.
            self._refuse(_TOO_SLOW if self._has_begun else b"")
        left = left if self._reading and left > 0 else self._read_timeout
        self._watch = self.loop.call_later(left, self._check_clock)

    def _refuse(self, response: bytes) -> None:
        """Answer what is being read with `response`, after the answers that are due, and close."""
        is_due = self._is_answer_due()
        is_answered = not self._in_head and self.cycle.response_started
        self._farewell = b"" if is_answered and not is_due else response
        if not is_due:
            self._say_farewell()

    def _say_farewell(self) -> None:
        if self.transport.is_closing():
            return
        if self._farewell:
            self.transport.write(self._farewell)
        if not self._farewell or not self.transport.can_write_eof():
            self.transport.close()
            return
        # Closing with something unread would reset the connection, and take the answer away from a
        # client that is still sending.
        self.transport.write_eof()
        self._linger = self.loop.call_later(_LINGER_SECONDS, self.transport.close)
