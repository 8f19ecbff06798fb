"""What one request may cost the others: how many at a time, how large a body may become."""

from __future__ import annotations

import threading
import zlib

from serving.errors import Code, StatusError

_CHUNK = 1 << 20
# gzip's header and checksum, window of 32 KiB.
_GZIP = 31


class ConcurrencyLimit:
    """Counts the requests under way and refuses those above `most`; 0 is no limit.

    Refused at once rather than queued: a queue in front of a busy server only adds latency.
    """

    def __init__(self, most: int = 0):
        self._most = most
        self._lock = threading.Lock()
        self._running = 0

    def enter(self) -> None:
        """Count a request in; each call that returns is followed by one of `leave`.

        Raises:
            StatusError: RESOURCE_EXHAUSTED, there are `most` already.
        """
        if not self._most:
            return
        with self._lock:
            if self._running >= self._most:
                raise StatusError(
                    Code.RESOURCE_EXHAUSTED,
                    f"The server is answering {self._most} requests already "
                    "(max_concurrent_requests). Try again later.",
                )
            self._running += 1

    def leave(self) -> None:
        """Count a request out."""
        if self._most:
            with self._lock:
                self._running -= 1


class BodyTooLarge(StatusError):
    """A request body of more bytes than the server takes, as sent or once decompressed."""


def body_too_large(limit: int) -> BodyTooLarge:
    """Return the refusal of a body of more than `limit` bytes."""
    return BodyTooLarge(
        Code.RESOURCE_EXHAUSTED,
        f"The request body is larger than {limit} bytes (rest_api_max_request_bytes).",
    )


def unzip(body: bytes, limit: int) -> bytes:
    """Return the content of a gzip body; nothing if it is none, as TensorFlow Serving has it.

    Inflated piece by piece: a body that would exceed `limit` bytes (0: no limit) is given up there.

    Raises:
        BodyTooLarge: there is more content than that.
    """
    content = bytearray()
    while body:
        inflater = zlib.decompressobj(_GZIP)
        while not inflater.eof:
            try:
                piece = inflater.decompress(body, _CHUNK)
            except zlib.error:
                return b""
            body = inflater.unconsumed_tail
            content += piece
            if limit and len(content) > limit:
                raise body_too_large(limit)
            if not piece and not body and not inflater.eof:
                # Cut short.
                return b""
        # gzip files may be concatenated.
        body = inflater.unused_data
    return bytes(content)
