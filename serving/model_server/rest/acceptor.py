"""Accepting connections: how many may be open at a time, and what happens above that.

asyncio's own way accepts until descriptors have run out, then logs thousands of lines a second.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import ssl
import time
from collections.abc import Callable, Sequence

_logger = logging.getLogger(__name__)

# Accepted before other work gets its turn.
_AT_ONCE = 64
_GONE = (errno.EAGAIN, errno.EINTR, errno.ECONNABORTED, errno.EPROTO)
_RETRY_SECONDS = 1.0
# What comes right after a connection, or an answer, may be on its way.
_IDLE_SECONDS = 0.25
_SECONDS_BETWEEN_WARNINGS = 10.0


class Connection(asyncio.Protocol):
    """A protocol with its transport."""

    transport: asyncio.Transport


class Connections:
    """Those that are open; for one event loop.

    Args:
        most: how many may be open at a time.

    Attributes:
        on_room: called each time that one ends.
    """

    def __init__(self, most: int):
        self.most = most
        self.on_room: Callable[[], None] = lambda: None
        self._count = 0
        # Since when they are idle, which is also their order.
        self._idle: dict[Connection, float] = {}

    def has_room(self) -> bool:
        """Whether one more may be accepted."""
        return self._count < self.most

    def accepted(self) -> None:
        """Count one; `ended` follows, whatever becomes of it."""
        self._count += 1

    def ended(self) -> None:
        """Count one less."""
        self._count -= 1
        self.on_room()

    def idle(self, connection: Connection) -> None:
        """From now on nothing is under way on it."""
        self._idle[connection] = time.monotonic()

    def busy(self, connection: Connection) -> None:
        """From now on it must not be closed."""
        self._idle.pop(connection, None)

    def close_idle(self) -> float | None:
        """Close the one that has been idle for longest.

        Returns:
            Seconds until it may be closed, if it was idle for a moment only: 0 if it was closed.
            None if there is none.
        """
        now = time.monotonic()
        for connection, since in self._idle.items():
            # The client of an idle connection may still be reading the last answer.
            if connection.transport.get_write_buffer_size():
                continue
            if since + _IDLE_SECONDS > now:
                return since + _IDLE_SECONDS - now
            del self._idle[connection]
            # TLS would wait for the client's goodbye.
            connection.transport.abort()
            return 0.0
        return None


class Acceptor:
    """Takes connections from listening sockets while there is room, and makes room if it can.

    Args:
        listeners: listening, non-blocking.
        make_protocol: of a new connection; it tells `connections` when it ends.
        connections: counts them.
        tls: None is plain TCP.
        handshake_timeout: seconds that TLS may take to begin.
    """

    def __init__(
        self,
        listeners: Sequence[socket.socket],
        make_protocol: Callable[[], Connection],
        connections: Connections,
        tls: ssl.SSLContext | None,
        handshake_timeout: float,
    ):
        self._loop = asyncio.get_running_loop()
        self._listeners = listeners
        self._make_protocol = make_protocol
        self._connections = connections
        self._tls = tls
        self._handshake_timeout = handshake_timeout if tls else None
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_paused = True
        self._is_closed = False
        self._next_warning = 0.0
        connections.on_room = self._resume
        self._resume()

    def close(self) -> None:
        """Accept no more."""
        self._pause()
        self._is_closed = True

    async def wait_closed(self) -> None:
        """Return at once: nothing is left to be closed here."""

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(_AT_ONCE):
            if not self._connections.has_room():
                self._pause()
                seconds = self._connections.close_idle()
                if seconds is None:
                    self._warn("all of the %d connections are in use", self._connections.most)
                elif seconds:
                    self._loop.call_later(seconds, self._resume)
                return
            try:
                connection, _ = listener.accept()
            except OSError as error:
                if error.errno not in _GONE:
                    # Most likely descriptors, which others in the process use too.
                    self._pause()
                    self._connections.close_idle()
                    self._loop.call_later(_RETRY_SECONDS, self._resume)
                    self._warn("%s", error.strerror)
                return
            connection.setblocking(False)
            self._connections.accepted()
            task = self._loop.create_task(self._begin(connection))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _begin(self, connection: socket.socket) -> None:
        protocol = self._make_protocol()
        try:
            await self._loop.connect_accepted_socket(
                lambda: protocol,
                connection,
                ssl=self._tls,
                ssl_handshake_timeout=self._handshake_timeout,
            )
        except (OSError, asyncio.CancelledError):
            # No TLS, or a client that has left: nobody to tell.
            if protocol.transport is None:
                self._connections.ended()

    def _pause(self) -> None:
        if not self._is_paused:
            self._is_paused = True
            for listener in self._listeners:
                self._loop.remove_reader(listener)

    def _resume(self) -> None:
        if self._is_paused and not self._is_closed:
            self._is_paused = False
            for listener in self._listeners:
                self._loop.add_reader(listener, self._accept, listener)

    def _warn(self, text: str, *arguments: object) -> None:
        now = time.monotonic()
        if now >= self._next_warning:
            self._next_warning = now + _SECONDS_BETWEEN_WARNINGS
            _logger.warning(f"REST accepts no new connection for now: {text}", *arguments)
